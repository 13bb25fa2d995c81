"""Whether a version that was made again is the same: bit for bit on hardware of its class, else within its interval."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gptcore.evaluation.intervals import intervals, measures
from gptcore.evaluation.measured import Measured, paired

# outputs that tell the time, and differ each time they are made
TIMED = (
    "data/model/timing.csv",
    "data/baseline/timing.csv",
    "data/evaluation/metrics.json",
    "data/evaluation/loss.png",
)


@dataclass(frozen=True)
class Made:
    """What two makings of a version are compared by; `outputs` are paths and their hashes."""

    outputs: Mapping[str, str]
    model_sha256: str
    bits_per_byte: str
    hardware: str


@dataclass(frozen=True)
class Comparison:
    is_same: bool
    sentence: str


def first_difference(stages: Mapping[str, Iterable[str]], was: Made, now: Made) -> str:
    """The first of `stages`, with the paths that each writes, that has made something else; empty if none has."""
    for stage, paths in stages.items():
        differing = [each for each in paths if each not in TIMED and was.outputs.get(each) != now.outputs.get(each)]
        if differing:
            return f"{stage} ({', '.join(differing)})"
    return "" if was.model_sha256 == now.model_sha256 else "the weights alone, whose sha256 is not that of the version"


def compared(stages: Mapping[str, Iterable[str]], was: Made, now: Made, low: float, high: float) -> Comparison:
    """`low` and `high` bound the paired difference in bits per byte, which counts on other hardware alone."""
    differs = first_difference(stages, was, now)
    if not differs and was.bits_per_byte == now.bits_per_byte:
        return Comparison(True, f"the same bit for bit, {now.bits_per_byte} bits per byte, on {now.hardware}")
    what = f"the first stage that differs is {differs or 'evaluate (its bits per byte)'}"
    bits = f"its bits per byte are {float(now.bits_per_byte):.4f}, and were {float(was.bits_per_byte):.4f}"
    if was.hardware == now.hardware:
        return Comparison(False, f"not the same, though it was made on {now.hardware} both times: {what}; {bits}")
    hardware = f"on {now.hardware} instead of {was.hardware or 'hardware that was not recorded'}"
    interval = f"{low:+.4f} to {high:+.4f} (95 %, paired)"
    if low <= 0 <= high:
        return Comparison(True, f"the same within the noise {hardware}: the difference is {interval}; {what}")
    return Comparison(False, f"not the same {hardware}: {bits}, the difference is {interval}; {what}")


def difference(was: Measured, now: Measured) -> tuple[float, float]:
    """The paired interval of now minus was, in bits per byte; of a text in a single part, the difference alone."""
    units = paired(now, was)
    if len(units.sums) > 1:
        _, _, found = intervals(units)
        return found.bits_per_byte.low, found.bits_per_byte.high
    (_, _, ours), (_, _, theirs) = measures(units.whole)
    return float(ours - theirs), float(ours - theirs)
