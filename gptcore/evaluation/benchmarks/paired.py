"""The difference of two models' grades on the same items, with bounds.

An item that one of the two could not be asked may have had any grade. So the bounds cover what it might be: from where
the one is wrong and the other right, to where the one is right and the other wrong.
"""

import math
from collections.abc import Sequence

import numpy as np

from gptcore.evaluation.benchmarks.metrics import deviations, item_units
from gptcore.evaluation.benchmarks.names import LOWER_IS_BETTER
from gptcore.evaluation.intervals import intervals, measures

Grades = Sequence[float | None]  # None is no grade
Bounds = tuple[float, float]


def bounds(name: str, weights: Sequence[int], ours: Grades, theirs: Grades, level: float) -> Bounds | None:
    """Of ours minus theirs: the interval of this level, or the figures alone at level 0. None for too few items.

    Grades are 0 and 1, or log-probabilities that `weights` words or bytes share, of which 0 is the best.
    """
    if name not in LOWER_IS_BETTER:
        low, _ = _of_shares(_with(ours, 0.0), _with(theirs, 1.0), level)
        _, high = _of_shares(_with(ours, 1.0), _with(theirs, 0.0), level)
        return low, high
    best = _of_perplexities(name, weights, _with(ours, 0.0), _with(theirs, 0.0), level)
    if best is None:
        return None
    return -math.inf if None in theirs else best[0], math.inf if None in ours else best[1]


def _with(grades: Grades, grade: float) -> list[float]:
    return [grade if each is None else each for each in grades]


def _of_shares(ours: Sequence[float], theirs: Sequence[float], level: float) -> Bounds:
    """Agresti and Min 2005: half an item more in each cell of the table of both models' rights and wrongs.

    So it holds for few items, and for models that answer alike.
    """
    pairs = list(zip(ours, theirs, strict=True))
    won, lost, n = sum(a > b for a, b in pairs), sum(a < b for a, b in pairs), len(pairs)
    if not level:
        return (won - lost) / n, (won - lost) / n
    middle, half = (won - lost) / (n + 2), deviations(level) / (n + 2)
    half *= math.sqrt(won + lost + 1 - (won - lost) ** 2 / (n + 2))
    return middle - half, middle + half


def _of_perplexities(
    name: str, weights: Sequence[int], ours: Sequence[float], theirs: Sequence[float], level: float
) -> Bounds | None:
    rows = np.array([(-a, -b, each, each) for a, b, each in zip(ours, theirs, weights, strict=True)], np.float64)
    if not level:
        (_, *one), (_, *other) = measures(rows.sum(0))
        difference = float(one[name == "bits_per_byte"] - other[name == "bits_per_byte"])
        return difference, difference
    units = item_units(rows)
    if units is None:
        return None
    _, _, found = intervals(units, level)
    interval = found.bits_per_byte if name == "bits_per_byte" else found.perplexity
    return interval.low, interval.high
