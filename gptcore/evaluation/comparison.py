"""Compare the model with its baseline: both on all validation tokens, same windows."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gptcore.config.paths import Paths
from gptcore.config.settings import settings
from gptcore.errors import UserError
from gptcore.evaluation.config import (
    Difference,
    EqualTime,
    EvaluateConfig,
    EvaluateMetrics,
    ModelMetrics,
    Reached,
    Validation,
)
from gptcore.evaluation.curves import draw_curves, read_curve
from gptcore.evaluation.intervals import Units, intervals, units
from gptcore.evaluation.losses import score, standard_error
from gptcore.evaluation.measure import tokens_for
from gptcore.evaluation.measured import Measured, joined, measured, paired
from gptcore.evaluation.positions import write_positions
from gptcore.evaluation.tally import Sums, Tally, tally, window_starts
from gptcore.files import write_json
from gptcore.model.folder import load_export
from gptcore.progress import Progress
from gptcore.tokens.token_files import INDEX, TokensMeta, open_tokens, prompt_tokens, read_index, verify_tokens
from gptcore.tokens.tokenizer import Tokenizer, require_tokenizer


def compare(paths: Paths, config: EvaluateConfig) -> EvaluateMetrics:
    """Measure data/model and data/baseline on the same text; draws their curves. Raises UserError.

    Windows are the same too, unless the baseline has another tokenizer.
    """
    meta = verify_tokens(paths.tokens)
    index = read_index(paths.tokens, "val")
    document_bytes = index[:, INDEX.index("bytes")]
    require_tokenizer(paths.tokens, paths.model / "export")
    ours, our_parameters, tokenizer = _tally(paths, paths.model, config, meta)
    theirs, their_parameters, their_tokenizer = _tally(paths, paths.baseline, config, meta)
    n_bytes = int(document_bytes.sum())
    model = _metrics(paths.model, ours.windows, n_bytes, our_parameters)
    baseline = _metrics(paths.baseline, theirs.windows, n_bytes, their_parameters)
    if is_alike := tokenizer == their_tokenizer:
        kept = measured(meta.val.text_sha256, document_bytes, ours, theirs)
        bounds = _intervals(units(ours, theirs, document_bytes))
    else:
        each = (measured(meta.val.text_sha256, document_bytes, tally, None) for tally in (ours, theirs))
        kept = joined(*each)
        bounds = _intervals_across(kept)
    write_json(paths.evaluation / "intervals.json", bounds)
    write_json(paths.evaluation / "measured.json", kept.model_dump())
    curves = _curve(paths.model), _curve(paths.baseline)
    draw_curves(paths.evaluation / "loss.png", *curves)
    write_positions(paths.evaluation, ours.positions, theirs.positions)
    return EvaluateMetrics(
        model=model,
        baseline=baseline,
        difference=_difference(model, baseline, ours, theirs, is_alike),
        baseline_loss_reached=reached(*curves),
        at_equal_time=at_equal_time(*curves),
        validation=Validation(
            tokens=int(ours.windows.tokens.sum()),
            bytes=n_bytes,
            documents=len(index),
            prompt_tokens=prompt_tokens(open_tokens(paths.tokens, "val")),
        ),
    )


def _difference(model: ModelMetrics, baseline: ModelMetrics, ours: Tally, theirs: Tally, is_alike: bool) -> Difference:
    bits_per_byte = model.bits_per_byte - baseline.bits_per_byte
    if not is_alike:
        return Difference(loss=None, loss_standard_error=None, perplexity=None, bits_per_byte=bits_per_byte)
    return Difference(
        loss=model.loss - baseline.loss,
        loss_standard_error=standard_error(ours.windows.losses - theirs.windows.losses, ours.windows.tokens),
        perplexity=model.perplexity - baseline.perplexity,
        bits_per_byte=bits_per_byte,
    )


def _intervals(resampled: Units | None) -> dict[str, Any]:
    """Of the model, the baseline and their difference, or None where the text is a single window.

    `windows_per_block` if blocks of windows are resampled; None if documents are.
    """
    names = ("model", "baseline", "difference")
    if resampled is None:
        return {"windows_per_block": None, **dict.fromkeys(names)}
    found = (asdict(each) for each in intervals(resampled))
    return {"windows_per_block": resampled.windows_per_block, **dict(zip(names, found, strict=True))}


def _intervals_across(kept: Measured) -> dict[str, Any]:
    """The same of a model and a baseline with different tokenizers: only bits per byte have a difference."""
    theirs = kept.of_baseline()
    assert theirs
    own, other, both = (
        _intervals(each if len(each.sums) > 1 else None)
        for each in (paired(kept, kept), paired(theirs, theirs), paired(kept, theirs))
    )
    if difference := both["difference"]:
        difference |= {"loss": None, "perplexity": None}
    return {**own, "baseline": other["model"], "difference": difference}


def _tally(paths: Paths, folder: Path, config: EvaluateConfig, meta: TokensMeta) -> tuple[Tally, int, Tokenizer]:
    """The losses of the model in `folder`, its number of parameters, and its tokenizer."""
    model, tokenizer = load_export(folder / "export", settings().torch_device())
    if config.block_size > model.config.block_size:
        raise UserError(
            f"evaluate.block_size {config.block_size} is longer than {folder.name}'s {model.config.block_size}"
        )
    tokens, starts = tokens_for(tokenizer, paths.tokens, meta)
    windows = len(window_starts(len(tokens), config.block_size, config.stride))
    if settings().compiles():
        model.compile_blocks()
    with Progress(f"evaluate {folder.name}", windows, "window") as progress:
        losses = tally(model, tokens, starts, config.block_size, config.stride, progress)
    return losses, model.parameter_count(), tokenizer


def _metrics(folder: Path, losses: Sums, n_bytes: int, parameters: int) -> ModelMetrics:
    curve = _curve(folder)
    tokens, seconds = (None, None) if curve.empty else (curve[name].iloc[-1] for name in ("tokens", "seconds"))
    return ModelMetrics(
        **asdict(score(losses.losses, losses.tokens, n_bytes)),
        parameters=parameters,
        tokens=None if tokens is None else int(tokens),
        seconds=None if seconds is None else float(seconds),
        tokens_per_second=None if tokens is None else round(float(tokens / seconds), 1),
    )


def _curve(folder: Path) -> pd.DataFrame:
    return read_curve(folder / "curve.csv", folder / "timing.csv")


def reached(model: pd.DataFrame, baseline: pd.DataFrame) -> Reached:
    if baseline.empty:
        return Reached(steps=None, seconds=None, speedup=None)
    goal = baseline.iloc[-1]
    under = model[model["val_loss"] <= goal["val_loss"]]
    if under.empty:
        return Reached(steps=None, seconds=None, speedup=None)
    first = under.iloc[0]
    speedup = round(float(goal["seconds"] / first["seconds"]), 2)
    return Reached(steps=int(first["step"]), seconds=float(first["seconds"]), speedup=speedup)


def at_equal_time(model: pd.DataFrame, baseline: pd.DataFrame) -> EqualTime:
    if baseline.empty:
        return EqualTime(seconds=None, model=None, baseline=None)
    seconds = min(float(curve["seconds"].iloc[-1]) for curve in (model, baseline))
    ours, theirs = (
        float(np.interp(seconds, curve["seconds"], curve["val_loss"])) if curve["seconds"].iloc[0] <= seconds else None
        for curve in (model, baseline)
    )
    return EqualTime(seconds=seconds, model=ours, baseline=theirs)
