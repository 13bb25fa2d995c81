"""What the gate says of a version, and how one stands that was judged before."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # 2 s of imports that a run in which nothing changed does not pay
    from gptcore.registry.tracking import Version

WITHDRAWN = "withdrawn"  # the tag of a version that was rolled back, and why


@dataclass(frozen=True)
class Ruling:
    """Whether a version should be champion, and why or why not; `record` is the verdict as kept with the version."""

    wins: bool
    because: str
    record: str = ""

    @property
    def sha256(self) -> str:
        return sha256(self.record.encode()).hexdigest() if self.record else ""


Judge = Callable[["Version", "Version | None"], Ruling]  # of a version and the champion, if there is one


def ruled(judge: Judge, version: "Version", champion: "Version | None") -> Ruling:
    """Whether `version` should take the place of `champion`. Raises UserError if one of them cannot be measured."""
    if version.tags.get(WITHDRAWN):
        return Ruling(False, f"it was rolled back: {version.tags[WITHDRAWN]}")
    ruling = judge(version, champion)
    if ruling.wins and champion is None:
        said, mark, caveat = ruling.because.partition("; ")  # what the interval does not cover comes last
        return replace(ruling, because=f"{said}, and there was no champion yet{mark}{caveat}")
    return ruling


def standing(judge: Judge, version: "Version", champion: "Version | None") -> str:
    """What a version is now that was judged some time ago."""
    if champion and champion.number == version.number:
        return f"is the champion: {judge(version, None).because}"
    ruling = ruled(judge, version, champion)
    if not ruling.wins:
        return f"is not the champion: {ruling.because}"
    holder = f"version {champion.number}" if champion else "no version"
    return f"is not the champion: somebody has put the alias on {holder}; set it by hand if you want it"
