"""Back to an earlier champion, whose weights are checked before the alias moves.

The version that loses the alias is marked as withdrawn: `judge` never lets it win again, whatever its figures. It gets
the alias back only from a person: by a rollback to it, or by hand in MLflow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gptcore.errors import UserError
from gptcore.registry.journal import LONGEST_REASON
from gptcore.registry.judge import WITHDRAWN
from gptcore.registry.verify import damages

if TYPE_CHECKING:
    from gptcore.registry.journal import Line
    from gptcore.registry.tracking import Registry

BY_HAND = "by hand: "  # begins the reason of a promotion by a person, which leads forward even to an earlier version


@dataclass(frozen=True)
class Rollback:
    was: int | None
    to: int


def rollback(registry: "Registry", to: int | None, why: str) -> Rollback:
    """Give `champion` to version `to`, or to the champion before. Raises UserError, with nothing moved."""
    why = _reason(why, "what is wrong with the champion")
    registry.moves.notice("champion")
    was = registry.aliases().get("champion")
    versions = {each.number: each for each, _ in registry.versions()}
    number = _chosen(to if to is not None else earlier(registry.moves.journal.lines(), was), was, list(versions))
    if damage := damages(registry, versions[number]):
        raise UserError(f"{damage}; nothing was moved; name another version with --to")
    if was in versions:
        registry.tag(was, {WITHDRAWN: why})  # first: if this is killed, nobody crowns it again
    if versions[number].tags.get(WITHDRAWN):
        registry.tag(number, {WITHDRAWN: ""})
    registry.moves.move("champion", number, f"rollback: {why}", only_from=was)
    if was in versions:
        registry.describe(was, f"gpt version {was} was rolled back to version {number}: {why}.")
    registry.describe(number, f"gpt version {number} is the champion again: {why}.")
    return Rollback(was, number)


def promote(registry: "Registry", number: int, why: str) -> None:
    """Give `champion` to version `number` because a person says so. Raises UserError, with nothing moved.

    The version that loses the alias is not withdrawn: the next run is compared with the new champion alone.
    """
    why = _reason(why, "why this version should be champion")
    registry.moves.notice("champion")
    was = registry.aliases().get("champion")
    versions = {each.number: each for each, _ in registry.versions()}
    version = versions[_chosen(number, was, list(versions))]
    if damage := damages(registry, version):
        raise UserError(f"{damage}; nothing was moved")
    if version.tags.get(WITHDRAWN):
        registry.tag(number, {WITHDRAWN: ""})
    registry.moves.move("champion", number, f"{BY_HAND}{why}", only_from=was)
    registry.describe(number, f"gpt version {number} was made champion by hand: {why}.")


def _reason(why: str, what: str) -> str:
    """In one line. Raises UserError if it is empty or too long for the journal."""
    why = " ".join(why.split())
    if not why:
        raise UserError(f"`--why` is empty; say in a few words {what}")
    if len(why) > LONGEST_REASON:
        raise UserError(f"`--why` has {len(why)} characters; {LONGEST_REASON} are the most")
    return why


def _chosen(number: int | None, champion: int | None, versions: list[int]) -> int:
    """`number`, if `champion` can be given to that version. Raises UserError."""
    if number is None:
        raise UserError(f"the journal knows no champion before version {champion}; name one with --to")
    if number == champion:
        raise UserError(f"gpt version {number} is the champion already; nothing was moved")
    if number not in versions:
        known = ", ".join(map(str, versions)) or "none"
        raise UserError(f"there is no gpt version {number}; there are: {known}; name one with --to")
    return number


def earlier(lines: "Sequence[Line]", champion: int | None) -> int | None:
    """The version that was champion before `champion`, leaving out those that were rolled back themselves."""
    held: list[int] = []
    for line in lines:
        if line.alias == "champion" and line.to in held and not line.why.startswith(BY_HAND):
            while held[-1] != line.to:
                held.pop()
        elif line.alias == "champion" and line.to is not None:
            held.append(line.to)
    return next((each for each in reversed(held) if each != champion), None)
