"""A measurement that outlives its model: losses by part of the text, from which any two models can be compared later.

Parts are documents, or windows where `intervals.py` takes blocks of them. Which of the two, and how long documents are,
depends on the text alone; so two models with different tokenizers still pair. Their windows do not begin at the same
bytes: losses then count as spread evenly within a window, and the coarser windows are the parts.
"""

import math
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gptcore.config.params import Metrics
from gptcore.evaluation.intervals import BYTES, LOSSES, TOKENS, Floats, Units, blocks, drawable, freedom_of

if TYPE_CHECKING:  # imports torch (2 s)
    from gptcore.evaluation.tally import Sums, Tally

PARTS = 2048  # windows beyond that many join: a quarter of the longest block at most


class Scored(Metrics):
    """Summed losses (nats) and tokens of each part, and of the whole text with its empty documents."""

    losses: list[float]
    tokens: list[float]
    whole_losses: float
    whole_tokens: float


class Measured(Metrics):
    """`freedom` is that of the documents. `facts` are those that limits of the gate are about."""

    text_sha256: str
    by: Literal["documents", "windows"]
    windows_per_part: int
    freedom: float
    bytes: list[float]
    whole_bytes: float
    model: Scored
    baseline: Scored | None
    facts: dict[str, int] = Field(default_factory=dict)

    def of_baseline(self) -> Self | None:
        """The same of the baseline, if there is one."""
        return self.model_copy(update={"model": self.baseline, "baseline": None}) if self.baseline else None


def measured(text_sha256: str, document_bytes: NDArray[np.int64], model: "Tally", baseline: "Tally | None") -> Measured:
    """What is kept of the tallies of one text."""
    second = baseline or model
    real = document_bytes > 0
    freedom = freedom_of(document_bytes[real].astype(np.float64))
    is_cut = freedom <= 1
    per_part = math.ceil(len(model.windows.tokens) / PARTS) if is_cut else 1
    whole_bytes = float(document_bytes.sum())
    if is_cut:
        rows = _columns(model.windows, second.windows, model.windows.tokens * (whole_bytes / _tokens(model.windows)))
        rows = np.add.reduceat(rows, np.arange(0, len(rows), per_part))
    else:
        rows = _columns(model.documents, second.documents, document_bytes)[real]
        rows = drawable(Units(rows, rows.sum(0), len(rows), freedom)).sums
    return Measured(
        text_sha256=text_sha256,
        by="windows" if is_cut else "documents",
        windows_per_part=per_part,
        freedom=freedom,
        bytes=rows[:, BYTES].tolist(),
        whole_bytes=whole_bytes,
        model=_scored(rows, 0, model.documents),
        baseline=_scored(rows, 1, baseline.documents) if baseline else None,
    )


def _columns(model: "Sums", baseline: "Sums", n_bytes: NDArray[np.generic]) -> Floats:
    return np.stack([model.losses, baseline.losses, model.tokens, n_bytes], axis=1, dtype=np.float64)


def _tokens(sums: "Sums") -> int:
    return int(sums.tokens.sum())


def _scored(rows: Floats, column: int, documents: "Sums") -> Scored:
    return Scored(
        losses=rows[:, LOSSES][:, column].tolist(),
        tokens=rows[:, TOKENS].tolist(),
        whole_losses=float(documents.losses.sum()),
        whole_tokens=float(documents.tokens.sum()),
    )


def joined(model: Measured, baseline: Measured) -> Measured:
    """Two measurements of one text by models with different tokenizers as one, by the coarser parts."""
    coarse = min(model, baseline, key=lambda each: len(each.bytes))
    scores = (
        each.model.model_copy(
            update={
                "losses": _on(each, each.model.losses, coarse.bytes).tolist(),
                "tokens": _on(each, each.model.tokens, coarse.bytes).tolist(),
            }
        )
        for each in (model, baseline)
    )
    return coarse.model_copy(update=dict(zip(("model", "baseline"), scores, strict=True)))


def paired(one: Measured, other: Measured) -> Units:
    """Both models on the same parts of one text; a single one has no interval."""
    coarse = min(one, other, key=lambda each: len(each.bytes))
    losses = [_on(each, each.model.losses, coarse.bytes) for each in (one, other)]
    rows = np.stack([*losses, _on(one, one.model.tokens, coarse.bytes), np.array(coarse.bytes)], axis=1)
    scores = one.model, other.model
    whole = np.array([*(each.whole_losses for each in scores), one.model.whole_tokens, one.whole_bytes])
    if one.by == "windows" and len(rows) > 1:
        return blocks(rows, whole, coarse.windows_per_part)
    return Units(rows, whole, len(rows), one.freedom)


def _on(measured: Measured, sums: list[float], part_bytes: list[float]) -> Floats:
    """`sums` of the parts of a measurement, on parts of other lengths."""
    if measured.bytes == part_bytes:
        return np.array(sums)
    edges, ends = (np.cumsum([0.0, *each]) for each in (part_bytes, measured.bytes))
    return np.diff(np.interp(edges, ends, np.cumsum([0.0, *sums])))
