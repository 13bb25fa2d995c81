"""What the journal tells: every move of an alias, which version had it from when to when, and which at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from gptcore.errors import UserError
from gptcore.registry.journal import Line

COLUMNS = ("LINE", "WHEN", "WHO", "ALIAS", "FROM", "TO", "WHY")


@dataclass(frozen=True)
class Reign:
    """The time in which a version had an alias, from the move that gave it; `until` is None while it has it."""

    began: Line
    until: datetime | None


def reigns(lines: Sequence[Line], alias: str = "champion") -> list[Reign]:
    """The earliest first. The time in which no version had the alias is none of them."""
    moves = [line for line in lines if line.alias == alias]
    ends = [*(line.when for line in moves[1:]), None]
    return [Reign(line, end) for line, end in zip(moves, ends, strict=True) if line.to is not None]


def moment(given: str) -> datetime:
    """A date, which means its end, or a date and time; in UTC unless it says otherwise. Raises UserError."""
    try:
        found = datetime.fromisoformat(given)
    except ValueError:
        raise UserError(f"`{given}` is no date; write 2026-11-01, or 2026-11-01T12:30 for a time in UTC") from None
    if "T" not in given and " " not in given:
        found = datetime.combine(found, time()) + timedelta(days=1, microseconds=-1)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def at(lines: Sequence[Line], when: datetime, alias: str = "champion") -> str:
    """A sentence: which version had the alias at that time, since when and why."""
    moves = [line for line in lines if line.alias == alias]
    before = [line for line in moves if line.when <= when]
    if not moves:
        return f"the journal has no line about {alias}"
    if not before:
        return f"not known: the journal's first line about {alias} is of {shown(moves[0].when)}"
    last = before[-1]
    if last.to is None:
        return f"no version was {alias}, since {shown(last.when)} ({last.who}: {last.why})"
    return f"gpt version {last.to} was {alias}, since {shown(last.when)} ({last.who}: {last.why})"


def table(lines: Sequence[Line]) -> list[str]:
    rows = [COLUMNS, *(_row(line) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS) - 1)]
    return [
        "  ".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]


def shown(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _row(line: Line) -> tuple[str, ...]:
    was, to = (str(each) if each is not None else "-" for each in (line.was, line.to))
    return (str(line.number), shown(line.when), line.who, line.alias, was, to, line.why)
