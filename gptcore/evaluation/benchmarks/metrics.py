"""Means, perplexities and bits per byte of many grades, each with a 95 % interval.

An item that the model could not be asked may have had any grade. So it is in no value, but it widens the interval: from
where all such items are wrong, to where all are right. A perplexity has no upper end then.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from gptcore.evaluation.benchmarks.items import Grade
from gptcore.evaluation.intervals import LEVEL, Interval, Units, intervals

LOWER_IS_BETTER = ("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte")
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
FEWEST = 2.0  # items of equal size that the interval of a perplexity needs
LARGEST = 700.0  # e^710 is too large for a float
NOT_KNOWN = "N/A"  # lm-eval's word


class Measure(NamedTuple):
    """The value is None if no item has a grade; an end of the interval is None if there is none."""

    value: float | None
    standard_error: float | str
    interval: tuple[float | None, float | None]


def measure(name: str, grades: Sequence[Grade], ungraded: Sequence[Grade]) -> Measure:
    """The metric of this name; `ungraded` are the best grades of the items without one."""
    if name in LOWER_IS_BETTER:
        return _per_unit(name, list(map(_pair, grades)), list(map(_pair, ungraded)))
    values, n = [value for value, _ in map(_pair, grades)], len(grades) + len(ungraded)
    low, high = _wilson(sum(values), n)[0], _wilson(sum(values) + len(ungraded), n)[1]
    return Measure(sum(values) / len(values) if values else None, _standard_error(values), (low, high))


def _per_unit(name: str, pairs: list[tuple[float, int]], best: list[tuple[float, int]]) -> Measure:
    logprob, weight = (sum(column) for column in zip(*pairs, strict=True)) if pairs else (0, 0)
    if not weight:
        return Measure(None, NOT_KNOWN, (None, None))
    if name == "bits_per_byte":
        value = -logprob / weight / math.log(2)
    else:
        value = math.exp(-logprob / weight) if -logprob / weight < LARGEST else math.inf
    found = _interval(name, pairs) if math.isfinite(value) else None
    if not found:
        return Measure(value, NOT_KNOWN, (None, None))
    widened = _interval(name, [*pairs, *best]) if best else None
    return Measure(value, found.standard_error, (widened.low, None) if widened else (found.low, found.high))


def _pair(grade: Grade) -> tuple[float, int]:
    return grade if isinstance(grade, tuple) else (grade, 1)


def _standard_error(values: Sequence[float]) -> float | str:
    """Of the mean, as lm-eval computes it."""
    n = len(values)
    if n < 2:
        return NOT_KNOWN
    mean = sum(values) / n
    return math.sqrt(sum((each - mean) ** 2 for each in values) / (n - 1)) / math.sqrt(n)


def _wilson(right: float, n: int) -> tuple[float, float]:
    """Wilson 1927: unlike a mean and its standard error, it holds for few items and near 0 and 1."""
    middle = (right + Z**2 / 2) / (n + Z**2)
    half = Z / (n + Z**2) * math.sqrt(right * (n - right) / n + Z**2 / 4)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _interval(name: str, pairs: Sequence[tuple[float, int]]) -> Interval | None:
    """Items are drawn again, as documents are for the validation loss; None for too few."""
    sums = np.array([(-logprob, -logprob, weight, weight) for logprob, weight in pairs if weight], np.float64)
    weights = sums[:, 2]
    effective = float(weights.sum() ** 2 / (weights**2).sum())
    if effective < FEWEST:
        return None
    found, _, _ = intervals(Units(sums, sums.sum(0), len(sums), effective - 1))
    return found.bits_per_byte if name == "bits_per_byte" else found.perplexity
