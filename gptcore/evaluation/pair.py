"""Two models on one text: the losses of each, their difference, and its intervals."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptcore.config.settings import settings
from gptcore.errors import UserError
from gptcore.evaluation.config import Difference, EvaluateConfig, Validation
from gptcore.evaluation.intervals import Units, intervals, units
from gptcore.evaluation.losses import Score, score, standard_error
from gptcore.evaluation.measure import tokens_for
from gptcore.evaluation.measured import Measured, joined, measured, paired
from gptcore.evaluation.tally import Tally, tally, window_starts
from gptcore.model.folder import load_export
from gptcore.progress import Progress
from gptcore.tokens.token_files import INDEX, TokensMeta, open_tokens, prompt_tokens, read_index, verify_tokens
from gptcore.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class One:
    """A model on the text."""

    tally: Tally
    parameters: int
    tokenizer: Tokenizer
    score: Score


@dataclass(frozen=True)
class Pair:
    """`is_alike`: both have one tokenizer, so that their windows are the same. `other` names the second."""

    text_sha256: str
    document_bytes: NDArray[np.int64]
    prompt_tokens: int
    model: One
    second: One
    other: str

    @property
    def is_alike(self) -> bool:
        return self.model.tokenizer == self.second.tokenizer

    def validation(self) -> Validation:
        return Validation(
            tokens=int(self.model.tally.windows.tokens.sum()),
            bytes=int(self.document_bytes.sum()),
            documents=len(self.document_bytes),
            prompt_tokens=self.prompt_tokens,
        )

    def difference(self) -> Difference:
        """The model minus the other."""
        model, other = self.model.score, self.second.score
        bits_per_byte = model.bits_per_byte - other.bits_per_byte
        if not self.is_alike:
            return Difference(loss=None, loss_standard_error=None, perplexity=None, bits_per_byte=bits_per_byte)
        ours, theirs = self.model.tally.windows, self.second.tally.windows
        return Difference(
            loss=model.loss - other.loss,
            loss_standard_error=standard_error(ours.losses - theirs.losses, ours.tokens),
            perplexity=model.perplexity - other.perplexity,
            bits_per_byte=bits_per_byte,
        )

    def measured(self) -> Measured:
        """What is kept of both, the other in the place of the baseline."""
        if self.is_alike:
            return measured(self.text_sha256, self.document_bytes, self.model.tally, self.second.tally)
        tallies = self.model.tally, self.second.tally
        return joined(*(measured(self.text_sha256, self.document_bytes, each, None) for each in tallies))

    def intervals(self) -> dict[str, Any]:
        """Of the model, the other and their difference, or None where the text is a single window.

        `windows_per_block` if blocks of windows are resampled; None if documents are. Of two tokenizers only bits per
        byte have a difference.
        """
        if self.is_alike:
            return self._bounds(units(self.model.tally, self.second.tally, self.document_bytes))
        kept = self.measured()
        theirs = kept.of_baseline()
        assert theirs
        own, other, both = (
            self._bounds(each if len(each.sums) > 1 else None)
            for each in (paired(kept, kept), paired(theirs, theirs), paired(kept, theirs))
        )
        if difference := both["difference"]:
            difference |= {"loss": None, "perplexity": None}
        return {**own, self.other: other["model"], "difference": difference}

    def _bounds(self, resampled: Units | None) -> dict[str, Any]:
        names = ("model", self.other, "difference")
        if resampled is None:
            return {"windows_per_block": None, **dict.fromkeys(names)}
        found = (asdict(each) for each in intervals(resampled))
        return {"windows_per_block": resampled.windows_per_block, **dict(zip(names, found, strict=True))}


def pair_on(folder: Path, exports: Mapping[str, Path], config: EvaluateConfig) -> Pair:
    """The model and then another, named for messages, on the validation text of a token folder. Raises UserError."""
    meta, index = verify_tokens(folder), read_index(folder, "val")
    document_bytes = index[:, INDEX.index("bytes")]
    model, second = (_one(*each, folder, meta, config, int(document_bytes.sum())) for each in exports.items())
    prompts, (_, other) = prompt_tokens(open_tokens(folder, "val")), exports
    return Pair(meta.val.text_sha256, document_bytes, prompts, model, second, other)


def _one(name: str, export: Path, folder: Path, meta: TokensMeta, config: EvaluateConfig, n_bytes: int) -> One:
    model, tokenizer = load_export(export, settings().torch_device())
    if config.block_size > model.config.block_size:
        raise UserError(f"evaluate.block_size {config.block_size} is longer than {name}'s {model.config.block_size}")
    tokens, starts = tokens_for(tokenizer, folder, meta)
    windows = len(window_starts(len(tokens), config.block_size, config.stride))
    if settings().compiles():
        model.compile_blocks()
    with Progress(f"evaluate {name}", windows, "window") as progress:
        found = tally(model, tokens, starts, config.block_size, config.stride, progress)
    scored = score(found.windows.losses, found.windows.tokens, n_bytes)
    return One(found, model.parameter_count(), tokenizer, scored)
