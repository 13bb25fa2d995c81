"""Look at the history of the registry's aliases, give `champion` back to an earlier version, judge and verify versions.

gptcore registry history                     every move of an alias: who, when, from, to, why
gptcore registry history --at 2026-11-01     which version was champion at the end of that day, in UTC
gptcore registry rollback --why "..."        back to the champion before, whose files are checked first
gptcore registry rollback --to 3 --why "..." back to version 3
gptcore registry promote 3 --why "..."       make version 3 champion, whatever the gate says
gptcore registry judge 3                     the verdict on version 3 again, from its record alone
gptcore registry measure 3                   measure version 3 on the validation text and tasks of this checkout
gptcore registry verify                      read every byte of all versions, in the registry and in DVC's cache; ask
                                             DVC's remote for the hash of what it has; check the journal
gptcore registry verify --mend               copy between DVC's cache and remote what one of them has whole, first
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha256
from math import log
from pathlib import Path
from typing import TYPE_CHECKING

from gptcore.errors import UNAVAILABLE_EXIT_CODE, Unavailable, UserError

if TYPE_CHECKING:  # 2 s of imports
    from gptcore.registry.tracking import Version


def add_arguments(parser: argparse.ArgumentParser) -> None:
    subparsers = parser.add_subparsers(
        dest="action", required=True, metavar="history|rollback|promote|judge|measure|verify"
    )
    history = subparsers.add_parser("history", help="every move of an alias; fails if a line was changed")
    history.add_argument("--at", metavar="DATE", help="answer who was champion then: 2026-11-01, or 2026-11-01T12:30")
    back = subparsers.add_parser("rollback", help="give `champion` to an earlier version")
    back.add_argument("--to", type=int, metavar="N", help="the version; the champion before if not given")
    back.add_argument("--why", required=True, help="what is wrong with the champion")
    by_hand = subparsers.add_parser("promote", help="make a version champion, whatever the gate says")
    by_hand.add_argument("version", type=int, metavar="N")
    by_hand.add_argument("--why", required=True, help="why it should be champion")
    again = subparsers.add_parser("judge", help="the verdict of the gate again; fails if another one comes out")
    again.add_argument("version", type=int, metavar="N")
    measure = subparsers.add_parser("measure", help="losses on data/tokens and answers to evaluate.tasks, for the gate")
    measure.add_argument("version", type=int, metavar="N")
    verify = subparsers.add_parser("verify", help="read the files of all versions; fails if one is damaged or gone")
    verify.add_argument("--mend", action="store_true", help="copy what DVC's cache or remote lacks from the other")


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    if arguments.action == "history":
        _history(arguments.at)
    elif arguments.action == "rollback":
        _rollback(arguments.to, arguments.why)
    elif arguments.action == "promote":
        _promote(arguments.version, arguments.why)
    elif arguments.action == "judge":
        _judge(arguments.version)
    elif arguments.action == "measure":
        _measure(arguments.version)
    else:
        _verify(arguments.mend)


def _history(at: str | None) -> None:
    from gptcore.registry import history
    from gptcore.registry.journal import faults
    from gptcore.registry.tracking import opened_in

    when = history.moment(at) if at is not None else None
    with opened_in(Path.cwd()) as registry:
        lines = registry.moves.lines(registry.aliases())
    if when:
        print(history.at(lines, when))
    elif lines:
        print("\n".join(history.table(lines)))
    else:
        print("no alias has been moved yet")
    if wrong := list(faults(lines)):
        raise UserError(f"the journal was changed: {'; '.join(wrong)}")


def _rollback(to: int | None, why: str) -> None:
    from gptcore.registry.rollback import rollback
    from gptcore.registry.tracking import opened_in

    with opened_in(Path.cwd()) as registry:
        done = rollback(registry, to, why)
    print(f"gpt version {done.to} is the champion again")
    if done.was is not None:
        print(f"no run makes version {done.was} champion any more; `gptcore registry rollback --to {done.was}` does")


def _promote(number: int, why: str) -> None:
    from gptcore.registry.rollback import promote
    from gptcore.registry.tracking import opened_in

    with opened_in(Path.cwd()) as registry:
        promote(registry, number, why)
    print(f"gpt version {number} is the champion")


def _judge(number: int) -> None:
    """From the record that MLflow keeps; models and data may be gone."""
    from gptcore.evaluation.verdict import read_record, replay
    from gptcore.registry.tracking import VERDICT, opened_in, verdict_file

    with opened_in(Path.cwd()) as registry:
        version = registry.version(number)
        name = version.tags.get(VERDICT)
        text = registry.noted(version, verdict_file(name)) if name else None
    if not name:
        raise UserError(f"gpt version {number} has no verdict of the gate; run the flow, which judges what it trains")
    if text is None:
        raise UserError(f"the verdict {verdict_file(name)} of gpt version {number} is gone from run {version.run_id}")
    if sha256(text.encode()).hexdigest() != name:
        raise UserError(f"the verdict on gpt version {number} was changed: its sha256 is not that of its tag")
    recorded = read_record(text)
    again = replay(recorded)
    if again is None:
        raise UserError(f"another verdict on gpt version {number} comes out than {verdict_file(name)} says")
    print(f"gpt version {number} {'passes' if again.passed else 'does not pass'} the gate: {again.because}\n")
    for each in again.outcomes:
        print(f"{'pass' if each.passed else 'FAIL'}  {each.what}: {each.why}")
    print(f"\nthe verdict {name} comes out again")


def _measure(number: int) -> None:
    """What is kept of the version stays: it may know a baseline, which nobody can measure again from here."""
    from gptcore.config.params import read_params, validate_section
    from gptcore.config.paths import Paths
    from gptcore.evaluation.config import EvaluateConfig
    from gptcore.evaluation.measured import Measured
    from gptcore.registry.tracking import asked_file, measured_file, opened_in
    from gptcore.registry.verify import damages
    from gptcore.tokens.token_files import read_meta

    paths = Paths(Path.cwd())
    config = validate_section(read_params(paths.params), "evaluate", EvaluateConfig)
    with opened_in(Path.cwd()) as registry:
        version = registry.version(number)
        if damage := damages(registry, version):
            raise UserError(damage)
        file = measured_file(read_meta(paths.tokens).val.text_sha256)
        kept = registry.noted(version, file)
        tasks = [each for each in config.tasks if registry.noted(version, asked_file(each.sha256)) is None]
        if kept is None or tasks:
            from gptcore.evaluation.benchmarks.ask import ask  # imports torch (2 s)
            from gptcore.evaluation.measure import measure

            with registry.export(number) as export:
                if kept is None:
                    kept = json.dumps(measure(paths.tokens, export, config).model_dump())
                    registry.note(version, file, kept)
                for each in ask(tasks, export, None):
                    registry.note(version, asked_file(each.sha256), json.dumps(each.model_dump()))
    found = Measured.model_validate_json(kept)
    bits = found.model.whole_losses / log(2) / found.whole_bytes
    print(f"gpt version {number}: {bits:.4f} bits per byte")


def _verify(mend: bool) -> None:
    from gptcore.registry.journal import faults
    from gptcore.registry.lineage import title
    from gptcore.registry.tracking import opened_in
    from gptcore.registry.verify import damages, remedy

    damaged = []
    with opened_in(Path.cwd()) as registry:
        versions = registry.versions()
        for version, aliases in versions:
            damage = damages(registry, version)
            name = title(version, aliases)
            told = f"damaged  {damage}; {remedy(version, registry.address(version.number))}"
            print(told if damage else f"whole    {name}", flush=True)
            damaged += [name] if damage else []
        wrong = list(faults(registry.moves.journal.lines()))
    print(f"damaged  the journal: {'; '.join(wrong)}" if wrong else "whole    the journal")
    damaged += ["the journal"] if wrong else []
    damaged += _verify_data([version for version, _ in versions], mend)
    if damaged:
        raise UserError(f"damaged or gone: {'; '.join(damaged)}")


def _verify_data(versions: "Sequence[Version]", mend: bool) -> list[str]:
    """What is damaged or gone of DVC's; its program tells, as gptcore knows no DVC. Raises UserError, Unavailable."""
    if not Path("dvc.yaml").is_file():
        print("unknown  DVC's cache and remote, which a checkout knows: run this in one")
        return []
    from gptcore.registry.lineage import outputs

    asked = {each.number: {"experiment": each.tags.get("dvc_experiment"), "outputs": dict(outputs(each))}
             for each in versions}  # fmt: skip
    command = [sys.executable, "-m", "tasks.dvc.verify", *["--mend"] * mend]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)
    if done.returncode:
        kind = Unavailable if done.returncode == UNAVAILABLE_EXIT_CODE else UserError
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise kind(f"DVC's cache and remote were not verified: {said.removeprefix('error: ')}")
    found = json.loads(done.stdout)
    if mended := found["mended"]:
        print(f"mended   {mended:,} files, copied between DVC's cache and remote")
    print("\n".join(f"damaged  {each}" for each in found["faults"]) or "whole    DVC's cache and remote")
    if unread := found["by_size"]:
        print(f"unread   {unread:,} files in DVC's remote, which has no md5 of them: their names and sizes are right")
    return ["data in DVC's cache or remote"] if found["faults"] else []
