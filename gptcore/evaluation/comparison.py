"""Compare the model with its baseline: both on all validation tokens, same windows; and on the tasks, item by item."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gptcore.config.paths import NONE, Paths
from gptcore.evaluation.asked import Asked, figure
from gptcore.evaluation.benchmarks.ask import ask
from gptcore.evaluation.benchmarks.paired import bounds
from gptcore.evaluation.config import (
    EqualTime,
    EvaluateConfig,
    EvaluateMetrics,
    ModelMetrics,
    Reached,
    Retained,
    TaskMetrics,
    TextMetrics,
)
from gptcore.evaluation.curves import draw_curves, read_curve
from gptcore.evaluation.intervals import LEVEL
from gptcore.evaluation.pair import One, Pair, pair_on
from gptcore.evaluation.positions import write_positions
from gptcore.files import write_json
from gptcore.ranks.distributed import is_first
from gptcore.tokens.tokenizer import require_tokenizer

SIDES = ("low", "high")


def compare(paths: Paths, config: EvaluateConfig) -> EvaluateMetrics:
    """Measure data/model and data/baseline on the same text and tasks; draws their curves. Raises UserError.

    Windows are the same too, unless the baseline has another tokenizer. With a start of whose text something is known,
    it and the model are also measured on that. Ranks share windows and questions, and the first one writes.
    """
    exports = {"model": paths.model / "export", "baseline": paths.baseline / "export"}
    require_tokenizer(paths.tokens, exports["model"])
    asked = ask(config.tasks, *exports.values())  # first, as their files may be wrong
    pair, old = pair_on(paths.tokens, exports, config), _on_text_of_start(paths, config)
    intervals = pair.intervals() | ({"retained": old.intervals()} if old else {}) | {"tasks": _bounds(asked)}
    curves = _curve(paths.model), _curve(paths.baseline)
    if is_first():
        write_json(paths.evaluation / "intervals.json", intervals)
        write_json(paths.evaluation / "retained.json", old and old.measured().model_dump())
        write_json(paths.evaluation / "measured.json", pair.measured().model_dump())
        write_json(paths.evaluation / "tasks.json", [each.model_dump() for each in asked])
        draw_curves(paths.evaluation / "loss.png", *curves)
        write_positions(paths.evaluation, pair.model.tally.positions, pair.second.tally.positions)
    return EvaluateMetrics(
        model=_metrics(pair.model, curves[0]),
        baseline=_metrics(pair.second, curves[1]),
        difference=pair.difference(),
        baseline_loss_reached=reached(*curves),
        at_equal_time=at_equal_time(*curves),
        validation=pair.validation(),
        retained=_retained(old) if old else None,
        tasks={each.task: _figures(each) for each in asked},
    )


def _on_text_of_start(paths: Paths, config: EvaluateConfig) -> Pair | None:
    """What a model has forgotten: it and its start, both on the validation text that the start was trained beside."""
    folder = paths.start / "retained"
    if (folder / NONE).exists():
        return None
    return pair_on(folder, {"model": paths.model / "export", "start": paths.start / "model"}, config)


def _retained(old: Pair) -> Retained:
    model, start = (TextMetrics(**asdict(each.score)) for each in (old.model, old.second))
    return Retained(model=model, start=start, difference=old.difference(), validation=old.validation())


def _figures(asked: Asked) -> dict[str, TaskMetrics]:
    found = {}
    for name, each in asked.metrics.items():
        assert each.baseline is not None
        ours, theirs = (figure(name, each.weights, grades).value for grades in (each.model, each.baseline))
        ungraded = sum(None in pair for pair in zip(each.model, each.baseline, strict=True))
        found[name] = TaskMetrics(model=ours, baseline=theirs, ungraded=ungraded)
    return found


def _bounds(asked: Iterable[Asked]) -> dict[str, dict[str, Any]]:
    """Of the difference, by task and metric; None for too few items, and an end of it where it has none."""
    found: dict[str, dict[str, Any]] = {}
    for each in asked:
        for name, graded in each.metrics.items():
            assert graded.baseline is not None
            ends = bounds(name, graded.weights, graded.model, graded.baseline, LEVEL)
            known = ends and {side: end if np.isfinite(end) else None for side, end in zip(SIDES, ends, strict=True)}
            found.setdefault(each.task, {})[name] = known
    return found


def _metrics(one: One, curve: pd.DataFrame) -> ModelMetrics:
    tokens, seconds = (None, None) if curve.empty else (curve[name].iloc[-1] for name in ("tokens", "seconds"))
    return ModelMetrics(
        **asdict(one.score),
        parameters=one.parameters,
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
