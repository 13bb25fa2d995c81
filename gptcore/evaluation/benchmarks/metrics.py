"""Means, perplexities and bits per byte of many grades, each with an interval, of 95 % unless asked otherwise.

An item that the model could not be asked may have had any grade. So it is in no value, but it widens the interval: from
where all such items are wrong, to where all are right. A perplexity has no upper end then.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gptcore.evaluation.benchmarks.names import LOWER_IS_BETTER
from gptcore.evaluation.intervals import LEVEL, Floats, Interval, Units, intervals

if TYPE_CHECKING:  # imports torch (2 s), which a verdict does not need
    from gptcore.evaluation.benchmarks.items import Grade

FEWEST = 2.0  # items of equal size that the interval of a perplexity needs
LARGEST = 700.0  # e^710 is too large for a float
NOT_KNOWN = "N/A"  # lm-eval's word


class Measure(NamedTuple):
    """The value is None if no item has a grade; an end of the interval is None if there is none."""

    value: float | None
    standard_error: float | str
    interval: tuple[float | None, float | None]


def measure(name: str, grades: "Sequence[Grade]", ungraded: "Sequence[Grade]", level: float = LEVEL) -> Measure:
    """The metric of this name; `ungraded` are the best grades of the items without one."""
    if name in LOWER_IS_BETTER:
        return _per_unit(name, list(map(_pair, grades)), list(map(_pair, ungraded)), level)
    values, n = [value for value, _ in map(_pair, grades)], len(grades) + len(ungraded)
    low, high = _wilson(sum(values), n, level)[0], _wilson(sum(values) + len(ungraded), n, level)[1]
    return Measure(sum(values) / len(values) if values else None, _standard_error(values), (low, high))


def item_units(rows: Floats) -> Units | None:
    """Items to be drawn again, as documents are for the validation loss: summed losses of two models, and twice the
    words or bytes that they are of. None for too few.
    """
    rows = rows[rows[:, 2] > 0]
    weights = rows[:, 2]
    effective = float(weights.sum() ** 2 / (weights**2).sum()) if len(rows) else 0.0
    return Units(rows, rows.sum(0), len(rows), effective - 1) if effective >= FEWEST else None


def deviations(level: float) -> float:
    """How many standard deviations around its mean hold this share of a normal distribution."""
    return NormalDist().inv_cdf((1 + level) / 2)


def _per_unit(name: str, pairs: list[tuple[float, int]], best: list[tuple[float, int]], level: float) -> Measure:
    logprob, weight = (sum(column) for column in zip(*pairs, strict=True)) if pairs else (0, 0)
    if not weight:
        return Measure(None, NOT_KNOWN, (None, None))
    if name == "bits_per_byte":
        value = -logprob / weight / math.log(2)
    else:
        value = math.exp(-logprob / weight) if -logprob / weight < LARGEST else math.inf
    found = _interval(name, pairs, level) if math.isfinite(value) else None
    if not found:
        return Measure(value, NOT_KNOWN, (None, None))
    widened = _interval(name, [*pairs, *best], level) if best else None
    return Measure(value, found.standard_error, (widened.low, None) if widened else (found.low, found.high))


def _pair(grade: "Grade") -> tuple[float, int]:
    return grade if isinstance(grade, tuple) else (grade, 1)


def _standard_error(values: Sequence[float]) -> float | str:
    """Of the mean, as lm-eval computes it."""
    n = len(values)
    if n < 2:
        return NOT_KNOWN
    mean = sum(values) / n
    return math.sqrt(sum((each - mean) ** 2 for each in values) / (n - 1)) / math.sqrt(n)


def _wilson(right: float, n: int, level: float) -> tuple[float, float]:
    """Wilson 1927: unlike a mean and its standard error, it holds for few items and near 0 and 1."""
    z = deviations(level)
    middle = (right + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * math.sqrt(right * (n - right) / n + z**2 / 4)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _interval(name: str, pairs: Sequence[tuple[float, int]], level: float) -> Interval | None:
    units = item_units(np.array([(-logprob, -logprob, weight, weight) for logprob, weight in pairs], np.float64))
    if units is None:
        return None
    found, _, _ = intervals(units, level)
    return found.bits_per_byte if name == "bits_per_byte" else found.perplexity
