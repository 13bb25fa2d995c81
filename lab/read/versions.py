"""The versions of the model in MLflow: verdicts, lineage, journal; who is champion, and a change of that."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gptcore.errors import UNAVAILABLE_EXIT_CODE, Unavailable, UserError
from gptcore.evaluation.runs import Registered
from gptcore.registry.address import embedded_uri, sqlite_file, tracking_uri

if TYPE_CHECKING:
    from gptcore.evaluation.verdict import Verdict
    from gptcore.registry.journal import Line
    from gptcore.registry.lineage import Link
    from gptcore.registry.tracking import Registry


@dataclass(frozen=True)
class Known:
    """A version with what the page about it shows."""

    number: int
    aliases: tuple[str, ...]
    tags: dict[str, str]
    run_id: str
    links: "tuple[Link, ...]"
    outputs: dict[str, str]


@contextmanager
def registry(checkout: Path) -> "Iterator[Registry | None]":
    """None if there is none yet: asking makes no database. Raises UserError, Unavailable."""
    uri = tracking_uri(checkout)
    if (database := sqlite_file(uri)) and not database.is_file():
        yield None
        return
    from gptcore.registry.tracking import opened

    with opened(uri, checkout / "mlartifacts") as found:
        yield found


def versions(checkout: Path) -> list[Known]:
    """All of them, the newest first."""
    from gptcore.registry.lineage import links, outputs

    is_embedded = tracking_uri(checkout) == embedded_uri(checkout)
    with registry(checkout) as found:
        return [
            Known(each.number, aliases, each.tags, each.run_id, tuple(links(each, is_embedded)), dict(outputs(each)))
            for each, aliases in reversed(found.versions() if found else [])
        ]


def registered(known: list[Known]) -> dict[str, Registered]:
    """By the name of their experiment, for the table of runs."""
    return {
        each.tags.get("dvc_experiment") or each.tags.get("flow_run_name", f"version {each.number}"): Registered(
            each.number, each.aliases, each.tags
        )
        for each in known
    }


def verdict(checkout: Path, known: Known) -> "Verdict | None":
    """The last one of the gate on a version, from its record; None if it has none."""
    from gptcore.evaluation.verdict import read_record
    from gptcore.registry.tracking import VERDICT, Version, verdict_file

    name = known.tags.get(VERDICT)
    with registry(checkout) as found:
        version = Version(known.number, known.tags, known.run_id)
        text = found.noted(version, verdict_file(name)) if found and name else None
    return read_record(text) if text else None


def history(checkout: Path) -> "tuple[list[Line], list[str]]":
    """Every move of an alias, and what shows that a line was changed; as `gptcore registry history` tells them."""
    from gptcore.registry.journal import faults

    with registry(checkout) as found:
        lines = found.moves.lines(found.aliases()) if found else []
    return lines, list(faults(lines))


def promote(checkout: Path, number: int, why: str) -> None:
    """Raises UserError, with nothing moved."""
    from gptcore.registry.rollback import promote as by_hand

    with registry(checkout) as found:
        if not found:
            raise UserError("there is no registry yet")
        by_hand(found, number, why)


def roll_back(checkout: Path, to: int | None, why: str) -> int:
    """The version that is champion now. Raises UserError, with nothing moved."""
    from gptcore.registry.rollback import rollback

    with registry(checkout) as found:
        if not found:
            raise UserError("there is no registry yet")
        return rollback(found, to, why).to


def export(checkout: Path, number: int, to: str, place: Path) -> None:
    """Write a version as a folder for another program, by `gptcore export`. Raises UserError, Unavailable."""
    command = [sys.executable, "-m", "gptcore", "export", f"gpt@{number}", "--to", to, str(place)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"`gptcore export` ended with exit code {done.returncode}"])[-1]
        kind = Unavailable if done.returncode == UNAVAILABLE_EXIT_CODE else UserError
        raise kind(said.removeprefix("error: "))
