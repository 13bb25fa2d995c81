"""Standard errors and 95 % intervals of the model, its baseline and their difference, on one text.

Windows of one document are not independent, documents are. So the error is clustered by document, and the bootstrap
draws whole documents; both models share the draws, so the difference is paired. One or two documents, or one that has
most of the text, say nothing about others. There, the units are overlapping blocks of consecutive windows (circular
moving-block bootstrap, Politis & Romano 1992), and the interval is that of this text's continuation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # imports torch (2 s), which a verdict does not need
    from gptcore.evaluation.tally import Tally

LEVEL = 0.95
RESAMPLES = 2000
UNITS = 512  # at most as many are drawn for a resample, a bounded time; they give an interval's length to about 3 %
SEED = 0
LOSSES, TOKENS, BYTES = slice(0, 2), 2, 3  # columns of sums: losses of the model and of the baseline, ...
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """95 % unless asked otherwise; the standard error is clustered."""

    standard_error: float
    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    loss: Interval
    perplexity: Interval
    bits_per_byte: Interval


@dataclass(frozen=True)
class Units:
    """Parts of the text, taken as independent: `sums` (units, 4) of each, `whole` (4,) of the text.

    `count` units make up the text (overlapping blocks are more). `freedom` is the degrees of freedom of their variance.
    """

    sums: Floats
    whole: Floats
    count: float
    freedom: float
    windows_per_block: int | None = None


def units(model: "Tally", baseline: "Tally", document_bytes: NDArray[np.int64]) -> Units | None:
    """Documents, or blocks of windows for one or two, or one with most text; None for a single window."""
    columns = [model.documents.losses, baseline.documents.losses, model.documents.tokens, document_bytes]
    documents = np.stack(columns, axis=1, dtype=np.float64)
    whole = documents.sum(0)
    documents = documents[(documents[:, TOKENS:] > 0).all(1)]  # an empty one has only an <|endoftext|>
    if (freedom := freedom_of(documents[:, BYTES])) > 1:
        return Units(documents, whole, len(documents), freedom)
    if len(model.windows.tokens) == 1:
        return None
    tokens = model.windows.tokens
    columns = [model.windows.losses, baseline.windows.losses, tokens, tokens * (whole[BYTES] / tokens.sum())]
    return blocks(np.stack(columns, axis=1, dtype=np.float64), whole)


def freedom_of(document_bytes: Floats) -> float:
    """The effective number of documents (Kish 1965; of equal ones, as many) minus one: the same for any tokenizer."""
    return float(document_bytes.sum() ** 2 / (document_bytes**2).sum()) - 1


def blocks(windows: Floats, whole: Floats, each: int = 1) -> Units:
    """Every run of consecutive windows, also around the end: n^(1/3) long, the rate of Künsch (1989).

    `each`: how many windows a row of `windows` holds.
    """
    n, rows = len(windows) * each, len(windows)
    length = min(math.ceil(max(n ** (1 / 3), n / UNITS) / each), rows // 2)
    ends = np.concatenate([np.zeros((1, windows.shape[1])), windows, windows[: length - 1]]).cumsum(0)
    return Units(ends[length:] - ends[:-length], whole, rows / length, rows / length - 1, length * each)


def intervals(units: Units, level: float = LEVEL) -> tuple[Intervals, Intervals, Intervals]:
    """Of the model, of the baseline, of the model minus the baseline. The same units give the same numbers."""
    return _bounds(_errors(units), _drawn(drawable(units)), level)


def intervals_over_seeds(seeds: Sequence[Units], level: float = LEVEL) -> tuple[Intervals, Intervals, Intervals]:
    """The same of the mean over trainings that differ in their seed, on the same parts of one text: for other text and
    other seeds.

    Seeds and documents are crossed, so their errors add up. Seeds are few: each resample shifts the measures by
    Student's t with one degree of freedom less than there are seeds, the same shift for both models (Behrens and
    Fisher's problem; such intervals cover at least what they say).
    """
    n = len(seeds)
    text = replace(
        seeds[0], sums=np.mean([each.sums for each in seeds], 0), whole=np.mean([each.whole for each in seeds], 0)
    )
    values = np.stack([measures(each.whole) for each in seeds])
    apart = (values - values.mean(0)) / math.sqrt(n * (n - 1))  # the sum of their squares is the mean's variance
    both = np.concatenate([apart, apart[:, :1] - apart[:, 1:]], axis=1)
    random = np.random.default_rng(SEED + 1)
    normal, chi_squared = random.standard_normal((RESAMPLES, n)), random.chisquare(n - 1, size=(RESAMPLES, 1, 1))
    drawn = _drawn(drawable(text)) + np.tensordot(normal, apart, 1) * np.sqrt((n - 1) / chi_squared)
    drawn[..., 1] = np.exp(np.minimum(drawn[..., 0], 700))
    return _bounds(np.sqrt(_errors(text) ** 2 + (both**2).sum(0)), drawn, level)


def _errors(units: Units) -> Floats:
    """Clustered standard errors (3, 3) of the measures of the model, of the baseline and of their difference."""
    influences = _influences(units)
    three = np.concatenate([influences, influences[:, :1] - influences[:, 1:]], axis=1)
    return np.asarray(units.count * np.sqrt((three**2).mean(0) / (units.count - 1)))


def _bounds(errors: Floats, drawn: Floats, level: float) -> tuple[Intervals, Intervals, Intervals]:
    return (
        _bounded(errors[0], drawn[:, 0], level),
        _bounded(errors[1], drawn[:, 1], level),
        _bounded(errors[2], drawn[:, 0] - drawn[:, 1], level),
    )


def measures(sums: Floats) -> Floats:
    """Loss, its exponential and bits per byte of sums (..., 4), for each model: shape (..., 2, 3)."""
    losses = sums[..., LOSSES]
    loss = losses / sums[..., TOKENS, None]
    return np.stack([loss, np.exp(loss), losses / sums[..., BYTES, None] / math.log(2)], axis=-1)


def _influences(units: Units) -> Floats:
    """How much each unit moves the measures (..., 2, 3), to first order; a ratio's residuals."""
    loss, perplexity, bits = np.moveaxis(measures(units.whole), -1, 0)
    losses, tokens, n_bytes = units.sums[:, LOSSES], units.sums[:, TOKENS, None], units.sums[:, BYTES, None]
    of_loss = (losses - tokens * loss) / units.whole[TOKENS]
    of_bits = (losses / math.log(2) - n_bytes * bits) / units.whole[BYTES]
    return np.stack([of_loss, perplexity * of_loss, of_bits], axis=-1)


def _drawn(units: Units) -> Floats:
    """The measures in each resample: shape (RESAMPLES, 2, 3).

    Few units vary less among resamples than texts do, and how much is itself uncertain. So deviations grow as Student's
    t does: by the root of freedom / chi-squared. For many units this is the plain bootstrap.
    """
    random, k = np.random.default_rng(SEED), round(units.count)
    chosen = random.integers(len(units.sums), size=(RESAMPLES, k))
    resampled = measures(np.stack([column[chosen].sum(1) for column in units.sums.T], axis=1))
    chi_squared = random.chisquare(units.freedom, size=(RESAMPLES, 1, 1))
    values = measures(units.whole)
    grown = values + (resampled - values) * np.sqrt(k / (units.count - 1) * units.freedom / chi_squared)
    grown[..., 1] = np.exp(np.minimum(grown[..., 0], 700))  # e^710 is too large for a float64
    return grown


def drawable(units: Units) -> Units:
    """Beyond `UNITS` documents, consecutive ones join into groups of about as many bytes."""
    if units.windows_per_block or len(units.sums) <= UNITS:
        return units
    n_bytes = units.sums[:, BYTES]
    groups = ((n_bytes.cumsum() - n_bytes) * (UNITS / n_bytes.sum())).astype(np.int64)
    joined = np.add.reduceat(units.sums, np.flatnonzero(np.diff(groups, prepend=-1)))
    return replace(units, sums=joined, count=len(joined))


def _bounded(errors: Floats, drawn: Floats, level: float) -> Intervals:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    names = ("loss", "perplexity", "bits_per_byte")
    each = {
        name: Interval(standard_error=float(error), low=float(bottom), high=float(top))
        for name, error, bottom, top in zip(names, errors, low, high, strict=True)
    }
    return Intervals(**each)
