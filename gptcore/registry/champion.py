"""The alias `champion`: in the end the best model has it, however many runs move it at the same time, on any hosts.

MLflow cannot set an alias on condition that it is still where it was read. Two runs may read one champion and both
write, and the later write may be the worse model's. So a run that has written looks again. If it has overwritten a
better version, or one came meanwhile, it gives the alias to that version, and looks again. The last write is followed
by a look, and a version that is registered after that look is compared with the holder by its own run.

A run that is killed before it looks again leaves a version that is not judged; whoever finds it with the alias looks at
all versions. Only one that is killed right after it has given the alias to the version of another leaves no sign.

A version that was rolled back is no rival: it gets the alias only from a person, see `judge`.
"""

from typing import TYPE_CHECKING

from gptcore.registry.judge import MEASURED, judge

if TYPE_CHECKING:  # 2 s of imports that a run in which nothing changed does not pay
    from gptcore.registry.tracking import Registry, Version


def crown(registry: "Registry", number: int, replaces: int | None = None) -> tuple[bool, str]:
    """Make version `number` the champion if it is better than the present one: (whether it is now, why or why not).

    It takes the place of version `replaces`, the same model, without being better.
    """
    versions, champion = _look(registry)
    # if the champion's own run has not looked again, a better version may lie under it
    known = {} if champion and not is_judged(champion) else {each: found.tags for each, found in versions.items()}
    best: Version | None = versions[number]
    if champion and champion.number == number:
        because = "it has the alias already"
    elif champion and champion.number == replaces:
        because = f"it is the model of version {champion.number}, whose files are gone"
    else:
        wins, because = judge(versions[number].tags, champion)
        best = best if wins else None
    why = because
    while best:
        if not champion or champion.number != best.number:
            registry.moves.move("champion", best.number, why)
        versions, champion = _look(registry)
        rivals = [each for each in versions.values() if not is_judged(each) or known.get(each.number) != each.tags]
        if best := _better(rivals, champion):
            why = judge(best.tags, champion)[1]
    if champion and champion.number == number:
        return True, because
    return judge(versions[number].tags, champion)


def is_judged(version: "Version") -> bool:
    """Whether a run has judged the version and looked again."""
    return bool(version.tags.get("promotion"))


def _look(registry: "Registry") -> "tuple[dict[int, Version], Version | None]":
    """All versions by number, and then the champion: what happens between the two looks new in the next look."""
    versions = {each.number: each for each, _ in registry.versions()}
    return versions, registry.holder("champion")


def _better(rivals: "list[Version]", champion: "Version | None") -> "Version | None":
    """The best of the rivals that beat the champion."""
    winners = [each for each in rivals if each.tags.keys() >= MEASURED and judge(each.tags, champion)[0]]
    return min(winners, key=lambda each: (float(each.tags["bits_per_byte"]), each.number), default=None)
