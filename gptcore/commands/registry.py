"""Look at the history of the registry's aliases, give `champion` back to an earlier version, verify all versions.

gptcore registry history                     every move of an alias: who, when, from, to, why
gptcore registry history --at 2026-11-01     which version was champion at the end of that day, in UTC
gptcore registry rollback --why "..."        back to the champion before, whose files are checked first
gptcore registry rollback --to 3 --why "..." back to version 3
gptcore registry verify                      read every byte of all versions' model folders, and check the journal
"""

import argparse
from pathlib import Path

from gptcore.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    subparsers = parser.add_subparsers(dest="action", required=True, metavar="history|rollback|verify")
    history = subparsers.add_parser("history", help="every move of an alias; fails if a line was changed")
    history.add_argument("--at", metavar="DATE", help="answer who was champion then: 2026-11-01, or 2026-11-01T12:30")
    back = subparsers.add_parser("rollback", help="give `champion` to an earlier version")
    back.add_argument("--to", type=int, metavar="N", help="the version; the champion before if not given")
    back.add_argument("--why", required=True, help="what is wrong with the champion")
    subparsers.add_parser("verify", help="read the files of all versions; fails if one is damaged or gone")


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    if arguments.action == "history":
        _history(arguments.at)
    elif arguments.action == "rollback":
        _rollback(arguments.to, arguments.why)
    else:
        _verify()


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


def _verify() -> None:
    from gptcore.registry.journal import faults
    from gptcore.registry.lineage import title
    from gptcore.registry.tracking import opened_in
    from gptcore.registry.verify import damages, remedy

    damaged = []
    with opened_in(Path.cwd()) as registry:
        for version, aliases in registry.versions():
            damage = damages(registry, version)
            name = title(version, aliases)
            told = f"damaged  {damage}; {remedy(version, registry.address(version.number))}"
            print(told if damage else f"whole    {name}", flush=True)
            damaged += [name] if damage else []
        wrong = list(faults(registry.moves.journal.lines()))
    print(f"damaged  the journal: {'; '.join(wrong)}" if wrong else "whole    the journal")
    if damaged or wrong:
        raise UserError(f"damaged or gone: {'; '.join([*damaged, *(['the journal'] if wrong else [])])}")
