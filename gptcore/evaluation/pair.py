"""Two models on one text: the losses of each, their difference, and its intervals."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from gptcore.config.settings import settings
from gptcore.errors import UserError
from gptcore.evaluation.config import Difference, EvaluateConfig, ModelMetrics
from gptcore.evaluation.intervals import Units, intervals
from gptcore.evaluation.losses import Score, standard_error
from gptcore.evaluation.measure import tokens_for
from gptcore.evaluation.tally import Tally, tally, window_starts
from gptcore.model.folder import load_export
from gptcore.progress import Progress
from gptcore.tokens.token_files import TokensMeta
from gptcore.tokens.tokenizer import Tokenizer


def tally_of(
    name: str, export: Path, folder: Path, meta: TokensMeta, config: EvaluateConfig
) -> tuple[Tally, int, Tokenizer]:
    """The losses of a model on the validation tokens in `folder`, its number of parameters, and its tokenizer."""
    model, tokenizer = load_export(export, settings().torch_device())
    if config.block_size > model.config.block_size:
        raise UserError(f"evaluate.block_size {config.block_size} is longer than {name}'s {model.config.block_size}")
    tokens, starts = tokens_for(tokenizer, folder, meta)
    windows = len(window_starts(len(tokens), config.block_size, config.stride))
    if settings().compiles():
        model.compile_blocks()
    with Progress(f"evaluate {name}", windows, "window") as progress:
        losses = tally(model, tokens, starts, config.block_size, config.stride, progress)
    return losses, model.parameter_count(), tokenizer


def difference_of(
    model: Score | ModelMetrics, other: Score | ModelMetrics, ours: Tally, theirs: Tally, is_alike: bool = True
) -> Difference:
    """The model minus the other; `is_alike`: whether they have one tokenizer."""
    bits_per_byte = model.bits_per_byte - other.bits_per_byte
    if not is_alike:
        return Difference(loss=None, loss_standard_error=None, perplexity=None, bits_per_byte=bits_per_byte)
    return Difference(
        loss=model.loss - other.loss,
        loss_standard_error=standard_error(ours.windows.losses - theirs.windows.losses, ours.windows.tokens),
        perplexity=model.perplexity - other.perplexity,
        bits_per_byte=bits_per_byte,
    )


def bounds_of(resampled: Units | None, other: str = "baseline") -> dict[str, Any]:
    """Intervals of the model, the other and their difference, or None where the text is a single window.

    `windows_per_block` if blocks of windows are resampled; None if documents are.
    """
    names = ("model", other, "difference")
    if resampled is None:
        return {"windows_per_block": None, **dict.fromkeys(names)}
    found = (asdict(each) for each in intervals(resampled))
    return {"windows_per_block": resampled.windows_per_block, **dict(zip(names, found, strict=True))}
