"""Compare the model with its baseline: both on all validation tokens, same windows."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gptcore.config.paths import Paths
from gptcore.config.settings import settings
from gptcore.errors import UserError
from gptcore.evaluation.config import Difference, EvaluateMetrics, ModelMetrics, Reached, Validation
from gptcore.evaluation.curves import draw_curves, read_curve
from gptcore.evaluation.losses import Score, score, standard_error, window_losses
from gptcore.model.folder import load_export
from gptcore.progress import Progress
from gptcore.tokens.token_files import open_tokens, read_meta, verify_tokens
from gptcore.tokens.tokenizer import require_tokenizer


def compare(paths: Paths, block_size: int) -> EvaluateMetrics:
    """Measure data/model and data/baseline in windows of `block_size` tokens; draws their curves. Raises UserError."""
    verify_tokens(paths.tokens)
    n_bytes = read_meta(paths.tokens).val.bytes
    model, model_losses, counts = _measure(paths, paths.model, block_size, n_bytes)
    baseline, baseline_losses, _ = _measure(paths, paths.baseline, block_size, n_bytes)
    curves = _curve(paths.model), _curve(paths.baseline)
    draw_curves(paths.evaluation / "loss.png", *curves)
    return EvaluateMetrics(
        model=model,
        baseline=baseline,
        difference=Difference(
            loss=model.loss - baseline.loss,
            loss_standard_error=standard_error(model_losses - baseline_losses, counts),
            perplexity=model.perplexity - baseline.perplexity,
            bits_per_byte=model.bits_per_byte - baseline.bits_per_byte,
        ),
        baseline_loss_reached=reached(*curves),
        validation=Validation(tokens=int(counts.sum()), bytes=n_bytes),
    )


def _measure(
    paths: Paths, folder: Path, block_size: int, n_bytes: int
) -> tuple[ModelMetrics, NDArray[np.float64], NDArray[np.int64]]:
    require_tokenizer(paths.tokens, folder / "export")
    model, _ = load_export(folder / "export", settings().torch_device())
    if block_size > model.config.block_size:
        raise UserError(f"evaluate.block_size {block_size} is longer than {folder.name}'s {model.config.block_size}")
    tokens = open_tokens(paths.tokens, "val")
    with Progress(f"evaluate {folder.name}", -(-(len(tokens) - 1) // block_size), "window") as progress:
        losses, counts = window_losses(model, tokens, block_size, progress=progress)
    measured: Score = score(losses, counts, n_bytes)
    last = _curve(folder).iloc[-1]
    metrics = ModelMetrics(
        **asdict(measured),
        parameters=model.parameter_count(),
        tokens=int(last["tokens"]),
        seconds=float(last["seconds"]),
        tokens_per_second=round(float(last["tokens"] / last["seconds"]), 1),
    )
    return metrics, losses, counts


def _curve(folder: Path) -> pd.DataFrame:
    return read_curve(folder / "curve.csv", folder / "timing.csv")


def reached(model: pd.DataFrame, baseline: pd.DataFrame) -> Reached:
    goal = baseline.iloc[-1]
    under = model[model["val_loss"] <= goal["val_loss"]]
    if under.empty:
        return Reached(steps=None, seconds=None, speedup=None)
    first = under.iloc[0]
    speedup = round(float(goal["seconds"] / first["seconds"]), 2)
    return Reached(steps=int(first["step"]), seconds=float(first["seconds"]), speedup=speedup)
