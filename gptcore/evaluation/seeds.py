"""What several trainings that differ in their seed alone say together: an interval over text and training."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gptcore.errors import UserError
from gptcore.evaluation.intervals import intervals_over_seeds
from gptcore.evaluation.measured import Measured, paired

SEEDS = ("train.seed", "baseline.seed")


def same_but_seeds(params: Iterable[Mapping[str, Any]]) -> list[list[int]]:
    """The numbers of those that have the same flat parameters except seeds, where there are several of them."""
    groups: dict[str, list[int]] = {}
    for number, values in enumerate(params):
        rest = sorted((name, str(value)) for name, value in values.items() if name not in SEEDS)
        groups.setdefault(str(rest), []).append(number)
    return [each for each in groups.values() if len(each) > 1]


def verdict_over_seeds(measurements: Sequence[Measured]) -> str:
    """How surely the model differs from its baseline, in a sentence. Raises UserError if the text is not one."""
    pairs = [(each, each.of_baseline()) for each in measurements]
    if len({(each.text_sha256, tuple(each.bytes)) for each in measurements}) > 1:
        raise UserError("the seeds were measured on different texts; evaluate them on one")
    units = [paired(each, baseline) for each, baseline in pairs if baseline]
    if len(units) < 2 or len(units[0].sums) < 2:
        raise UserError("an interval over seeds needs two of them, with baselines, and a text of several windows")
    found = intervals_over_seeds(units)[2].bits_per_byte
    apart = {tuple(baseline.model.losses) for _, baseline in pairs if baseline}
    of = f"{len(units)} seeds of the model and {len(apart)} of the baseline"
    said = f"{found.low:+.4f} to {found.high:+.4f} bits per byte (95 %, over text and seeds: {of})"
    if found.low <= 0 <= found.high:
        return f"No difference from the baseline is shown: it is {said}."
    return f"The model is {'better' if found.high < 0 else 'worse'} than the baseline: the difference is {said}."
