"""Compare the model with its baseline: both on all validation tokens, same windows."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gptcore.config.paths import Paths
from gptcore.evaluation.config import (
    EqualTime,
    EvaluateConfig,
    EvaluateMetrics,
    ModelMetrics,
    Reached,
    Validation,
)
from gptcore.evaluation.curves import draw_curves, read_curve
from gptcore.evaluation.intervals import units
from gptcore.evaluation.losses import score
from gptcore.evaluation.measured import Measured, joined, measured, paired
from gptcore.evaluation.pair import bounds_of, difference_of, tally_of
from gptcore.evaluation.positions import write_positions
from gptcore.evaluation.retained import compare_retained
from gptcore.evaluation.tally import Sums
from gptcore.files import write_json
from gptcore.ranks.distributed import is_first
from gptcore.tokens.token_files import INDEX, open_tokens, prompt_tokens, read_index, verify_tokens
from gptcore.tokens.tokenizer import require_tokenizer


def compare(paths: Paths, config: EvaluateConfig) -> EvaluateMetrics:
    """Measure data/model and data/baseline on the same text; draws their curves. Raises UserError.

    Windows are the same too, unless the baseline has another tokenizer. With a start, it and the model are
    also measured on the start's own text. Ranks share the windows, and the first one writes.
    """
    meta = verify_tokens(paths.tokens)
    index = read_index(paths.tokens, "val")
    document_bytes = index[:, INDEX.index("bytes")]
    require_tokenizer(paths.tokens, paths.model / "export")
    ours, our_parameters, tokenizer = tally_of("model", paths.model / "export", paths.tokens, meta, config)
    theirs, their_parameters, their_tokenizer = tally_of(
        "baseline", paths.baseline / "export", paths.tokens, meta, config
    )
    n_bytes = int(document_bytes.sum())
    model = _metrics(paths.model, ours.windows, n_bytes, our_parameters)
    baseline = _metrics(paths.baseline, theirs.windows, n_bytes, their_parameters)
    if is_alike := tokenizer == their_tokenizer:
        kept = measured(meta.val.text_sha256, document_bytes, ours, theirs)
        bounds = bounds_of(units(ours, theirs, document_bytes))
    else:
        each = (measured(meta.val.text_sha256, document_bytes, tally, None) for tally in (ours, theirs))
        kept = joined(*each)
        bounds = _intervals_across(kept)
    retained, kept_retained, of_retained = compare_retained(paths, config)
    curves = _curve(paths.model), _curve(paths.baseline)
    if is_first():
        write_json(paths.evaluation / "intervals.json", {**bounds, **of_retained})
        write_json(paths.evaluation / "retained.json", kept_retained and kept_retained.model_dump())
        write_json(paths.evaluation / "measured.json", kept.model_dump())
        draw_curves(paths.evaluation / "loss.png", *curves)
        write_positions(paths.evaluation, ours.positions, theirs.positions)
    return EvaluateMetrics(
        model=model,
        baseline=baseline,
        difference=difference_of(model, baseline, ours, theirs, is_alike),
        baseline_loss_reached=reached(*curves),
        at_equal_time=at_equal_time(*curves),
        validation=Validation(
            tokens=int(ours.windows.tokens.sum()),
            bytes=n_bytes,
            documents=len(index),
            prompt_tokens=prompt_tokens(open_tokens(paths.tokens, "val")),
        ),
        retained=retained,
    )


def _intervals_across(kept: Measured) -> dict[str, Any]:
    """The same of a model and a baseline with different tokenizers: only bits per byte have a difference."""
    theirs = kept.of_baseline()
    assert theirs
    own, other, both = (
        bounds_of(each if len(each.sums) > 1 else None)
        for each in (paired(kept, kept), paired(theirs, theirs), paired(kept, theirs))
    )
    if difference := both["difference"]:
        difference |= {"loss": None, "perplexity": None}
    return {**own, "baseline": other["model"], "difference": difference}


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
