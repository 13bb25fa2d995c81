"""data/model, data/baseline, data/tokens -> data/evaluation: both models on all validation tokens, same windows."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from gptcore.config.params import Metrics, Section
from gptcore.config.paths import Paths
from gptcore.config.settings import settings
from gptcore.errors import UserError
from gptcore.evaluation.curves import draw_curves, read_curve
from gptcore.evaluation.losses import Score, score, standard_error, window_losses
from gptcore.model.folder import load_export
from gptcore.progress import Progress
from gptcore.stages.run_stage import run_stage
from gptcore.tokens.token_files import open_tokens, read_meta, verify_tokens
from gptcore.tokens.tokenizer import require_tokenizer
from gptcore.training.memory import keep_freed_memory


class EvaluateConfig(Section):
    block_size: int = Field(gt=0, description="Tokens per window; at most both models' block_size")


class ModelMetrics(Metrics):
    """`seconds` is training time without evaluation and checkpoints."""

    loss: float
    loss_standard_error: float
    perplexity: float
    bits_per_byte: float
    parameters: int
    tokens: int
    seconds: float
    tokens_per_second: float


class Difference(Metrics):
    """Model minus baseline; the standard error is of the paired difference."""

    loss: float
    loss_standard_error: float
    perplexity: float
    bits_per_byte: float


class Reached(Metrics):
    """When the model's validation loss first reached the baseline's final loss; None if it never did."""

    steps: int | None
    seconds: float | None
    speedup: float | None


class Validation(Metrics):
    tokens: int
    bytes: int


class EvaluateMetrics(Metrics):
    model: ModelMetrics
    baseline: ModelMetrics
    difference: Difference
    baseline_loss_reached: Reached
    validation: Validation


def evaluate(evaluate: EvaluateConfig, paths: Paths) -> EvaluateMetrics:
    keep_freed_memory()
    verify_tokens(paths.tokens)
    n_bytes = read_meta(paths.tokens).val.bytes
    model, model_losses, counts = _measure(paths, paths.model, evaluate.block_size, n_bytes)
    baseline, baseline_losses, _ = _measure(paths, paths.baseline, evaluate.block_size, n_bytes)
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


if __name__ == "__main__":
    run_stage(evaluate)
