"""The alias `champion`: in the end the best model has it, however many runs move it at the same time, on any hosts.

MLflow cannot set an alias on condition that it is still where it was read. Two runs may read one champion and both
write, and the later write may be the worse model's. So a run that has written looks again. If it has overwritten a
better version, or one came meanwhile, it gives the alias to that version, and looks again. The last write is followed
by a look, and a version that is registered after that look is compared with the holder by its own run.

A run that is killed before it looks again leaves a version that is not judged; whoever finds it with the alias looks at
all versions. Only one that is killed right after it has given the alias to the version of another leaves no sign.

Versions that were measured on other validation text wait for their own run's judgement, unless they came or changed
after the first look. A version that was rolled back is no rival: it gets the alias only from a person, see `judge.py`.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from gptcore.errors import Unavailable, UserError
from gptcore.registry.judge import Judge, Ruling, ruled

if TYPE_CHECKING:  # 2 s of imports that a run in which nothing changed does not pay
    from gptcore.registry.tracking import Registry, Version

FIGURE, TEXT = "bits_per_byte", "validation_text_sha256"  # tags


def crown(registry: "Registry", number: int, judge: Judge, replaces: int | None = None) -> Ruling:
    """Make version `number` the champion if it is better than the present one: whether it is now, why or why not.

    It takes the place of version `replaces`, the same model, without being better. The ruling is kept with the version.
    """
    first, champion = _look(registry)
    versions = first
    # if the champion's own run has not looked again, a better version may lie under it
    is_sure = not champion or is_judged(champion)
    if champion and champion.number == number:
        ruling = Ruling(True, "it has the alias already")
    elif champion and champion.number == replaces:
        ruling = Ruling(True, f"it is the model of version {champion.number}, whose files are gone")
    else:
        ruling = ruled(judge, first[number], champion)
    best, given = first[number] if ruling.wins else None, ruling
    while best:
        if not champion or champion.number != best.number:
            registry.keep(best, given)
            registry.moves.move("champion", best.number, given.because, given.sha256)
        versions, champion = _look(registry)
        rivals = [each for each in versions.values() if _is_rival(each, champion, first.get(each.number), is_sure)]
        best, given = _better(judge, rivals, champion)
    if champion and champion.number == number:
        return replace(ruling, wins=True)
    ruling = ruled(judge, versions[number], champion)
    registry.keep(versions[number], ruling)
    return ruling


def is_judged(version: "Version") -> bool:
    """Whether a run has judged the version and looked again."""
    return bool(version.tags.get("promotion"))


def _look(registry: "Registry") -> "tuple[dict[int, Version], Version | None]":
    """All versions by number, and then the champion: what happens between the two looks new in the next look."""
    versions = {each.number: each for each, _ in registry.versions()}
    return versions, registry.holder("champion")


def _is_rival(version: "Version", champion: "Version | None", before: "Version | None", is_sure: bool) -> bool:
    """Whether a version may be better than the champion, as nobody has compared the two."""
    if before is None or before.tags != version.tags:
        return True
    on_same_text = champion is None or champion.tags.get(TEXT) == version.tags.get(TEXT)
    return on_same_text and not (is_sure and is_judged(version))


def _better(judge: Judge, rivals: "list[Version]", champion: "Version | None") -> "tuple[Version | None, Ruling]":
    """The best of the rivals that beat the champion. Each has the lower figure, so that this comes to an end."""
    rivals = [each for each in rivals if FIGURE in each.tags and not (champion and champion.number == each.number)]
    for each in sorted(rivals, key=lambda each: (float(each.tags[FIGURE]), each.number)):
        if champion and not float(each.tags[FIGURE]) < float(champion.tags.get(FIGURE, "inf")):
            continue
        try:
            ruling = ruled(judge, each, champion)
        except Unavailable:
            raise
        except UserError:  # its files are gone, so that nobody can use it
            continue
        if ruling.wins:
            return each, ruling
    return None, Ruling(False, "")
