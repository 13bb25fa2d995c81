"""Loss curves: of a training that goes on, from its log and from MLflow; of one that has ended, from its files."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gptcore.config.paths import Paths
from gptcore.evaluation.curves import read_curve
from gptcore.registry.moved import EXPERIMENT
from lab.read.log import Point, Skip
from tasks.dvc.experiments import Experiment
from tasks.dvc.repository import cached_file

if TYPE_CHECKING:
    from gptcore.registry.tracking import Registry

SIDES = ("model", "baseline")
STAGES = {"model": "train", "baseline": "baseline"}
MOST = 400  # points that a chart shows
TRACKED = ("loss", "val_loss", "learning_rate", "gradient_norm", "tokens_per_second", "skipped_batches")


def of_workspace(checkout: Path, run: str, side: str) -> pd.DataFrame | None:
    """The files in the workspace of a run that goes on or has failed; None before the stage has ended."""
    root = Paths(checkout).scratch / "workspaces" / run / "data" / side
    with suppress(OSError, ValueError):
        return read_curve(root / "curve.csv", root / "timing.csv")
    return None


def of_experiment(experiment: Experiment, side: str, cache: Path) -> pd.DataFrame | None:
    """The files of an experiment; None if they are not in DVC's cache folder, or the model was not trained."""
    with suppress(KeyError, OSError, ValueError):
        return read_curve(*(cached_file(cache, experiment.outputs[each]) for each in files(side)))
    return None


def files(side: str) -> tuple[str, str]:
    return f"data/{side}/curve.csv", f"data/{side}/timing.csv"


def of_log(points: Sequence[Point]) -> pd.DataFrame:
    """Step, loss of the last batch and validation loss, as logged every few seconds."""
    rows = [(each.done, each.loss, each.val_loss, each.tokens_per_second) for each in points if each.loss is not None]
    return pd.DataFrame(rows, columns=["step", "loss", "val_loss", "tokens_per_second"], dtype=float)


def tracked(registry: "Registry", run: str) -> pd.DataFrame:
    """What MLflow has heard of the training of a flow run: a row for each point; none if no tracker was on."""
    found = training(registry, run)
    columns: dict[str, Mapping[int, float]] = {}
    for name in TRACKED if found else ():
        history = registry.client.get_metric_history(found, name)
        columns[name] = {point.step: point.value for point in history}
    return pd.DataFrame(columns, columns=[*TRACKED], dtype=float).rename_axis("step").sort_index().reset_index()


def training(registry: "Registry", run: str) -> str:
    """The id of MLflow's run of the training of a flow run; "" if it has not heard of it."""
    experiment = registry.client.get_experiment_by_name(EXPERIMENT)
    if experiment is None or {"'", '"'} <= {*run}:  # no name that MLflow's queries can hold
        return ""
    quote = '"' if "'" in run else "'"
    query = f"tags.flow_run_name = {quote}{run}{quote}"
    found = registry.client.search_runs([experiment.experiment_id], query, max_results=1)
    return str(found[0].info.run_id) if found else ""


def nothing() -> pd.DataFrame:
    """What `tracked` gives of a run that MLflow has not heard of."""
    return pd.DataFrame(columns=["step", *TRACKED], dtype=float)


def thinned(table: pd.DataFrame, most: int = MOST) -> pd.DataFrame:
    """At most about so many rows, evenly spaced, the last among them."""
    if len(table) <= most:
        return table
    stride = -(-len(table) // most)
    return table.iloc[sorted({*range(0, len(table), stride), len(table) - 1})]


def marks(skips: Sequence[Skip], known: pd.DataFrame, batch_tokens: int | None) -> pd.DataFrame:
    """Where the guard has left out a batch, on every axis of the charts; seconds as far as the curve tells them."""
    rows = [(each.step, each.loss, each.back_to, each.batch) for each in skips]
    found = pd.DataFrame(rows, columns=["step", "loss", "back_to", "batch"], dtype=float)
    timed = known.dropna(subset=["seconds"]) if "seconds" in known else known.iloc[:0]
    seconds = np.interp(found["step"], timed["step"], timed["seconds"]) if len(timed) else float("nan")
    return found.assign(tokens=found["step"] * (batch_tokens or 1), seconds=seconds)


def curve(
    finished: pd.DataFrame | None, heard: pd.DataFrame, points: Sequence[Point], batch_tokens: int | None
) -> pd.DataFrame:
    """The best that is known of one side: step, tokens, val_loss and what else there is.

    That is the files of a stage that has ended; before, what MLflow has `heard` if it knows evaluations; else the log.
    """
    if finished is not None:
        return finished
    if "val_loss" in heard and heard["val_loss"].notna().any():
        found = heard.dropna(subset=["val_loss"])
    else:
        found = of_log(points).dropna(subset=["val_loss"])
        found = found[found["val_loss"].diff() != 0]  # the log repeats the last evaluation
    return found.assign(tokens=found["step"] * batch_tokens if batch_tokens else found["step"])
