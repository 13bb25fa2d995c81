"""Which version should be champion, and what to say of one that was judged before."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # 2 s of imports that a run in which nothing changed does not pay
    from gptcore.registry.tracking import Version

WITHDRAWN = "withdrawn"  # the tag of a version that was rolled back, and why
MEASURED = {"bits_per_byte", "baseline_bits_per_byte", "validation_text_sha256"}  # the tags that `judge` needs


def judge(tags: dict[str, str], champion: "Version | None") -> tuple[bool, str]:
    """Whether a version with `tags` should become champion, and why or why not."""
    if tags.get(WITHDRAWN):
        return False, f"it was rolled back: {tags[WITHDRAWN]}"
    beats, measured = _against_baseline(tags)
    if not beats:
        return False, measured
    if champion is None:
        return True, f"{measured}, and there was no champion yet"
    name = f"the champion, version {champion.number}"
    if champion.tags.get("validation_text_sha256") != tags["validation_text_sha256"]:
        on_other = "was measured on other validation text; set the alias by hand if you want it"
        return False, f"{measured}, but {name}, {on_other}"
    ours, theirs = float(tags["bits_per_byte"]), float(champion.tags["bits_per_byte"])
    if not ours < theirs:
        return False, f"{measured}, but not the {theirs:.4f} of {name}"
    return True, f"{measured} and the {theirs:.4f} of version {champion.number}, the champion so far"


def standing(version: "Version", champion: "Version | None") -> str:
    """What a version is now that was judged some time ago."""
    if champion and champion.number == version.number:
        return f"is the champion: {_against_baseline(version.tags)[1]}"
    would_win, because = judge(version.tags, champion)
    if would_win:
        holder = f"version {champion.number}" if champion else "no version"
        because = f"somebody has put the alias on {holder}; set it by hand if you want it"
    return f"is not the champion: {because}"


def _against_baseline(tags: dict[str, str]) -> tuple[bool, str]:
    ours, baseline = float(tags["bits_per_byte"]), float(tags["baseline_bits_per_byte"])
    beats = ours < baseline
    verb = "beat" if beats else "do not beat"
    return beats, f"its {ours:.4f} bits per byte {verb} the nanoGPT baseline's {baseline:.4f}"
