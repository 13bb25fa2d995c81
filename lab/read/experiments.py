"""All runs as one table: what DVC has measured, Prefect has started and MLflow has registered."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from gptcore.config.paths import Paths
from gptcore.evaluation.runs import Measured, Registered, Started, runs
from gptcore.files import read_json
from lab.read import cost
from lab.read.prefect import Run
from tasks.dvc.experiments import Experiment, experiments
from tasks.dvc.repository import cached_file
from tasks.workspace.workspace import plain_name

BITS = "model.bits_per_byte"
SPLIT = ("val_fraction", "test_fraction", "val_split", "seed")
INTERVALS = "data/evaluation/intervals.json"
BOUNDS = {
    "bits_low": ("model", "low"),
    "bits_high": ("model", "high"),
    "baseline_low": ("difference", "low"),
    "baseline_high": ("difference", "high"),
}  # column -> which interval of bits per byte it is, and which end
Bounds = Mapping[str, float]
LONGEST = 14  # characters of a value in a picture


def all_experiments(checkout: Path) -> dict[str, Experiment]:
    """By name, of every commit. Raises UserError."""
    return {each.name: each for each in experiments(checkout, every_commit=True)}


def same(
    values: Mapping[str, Any], known: Mapping[str, Experiment], code: Callable[[], Mapping[str, Any]]
) -> str | None:
    """The experiment that has these (flat) parameters and this code, if there is one: a run restores it.

    The code, of which each file is hashed, is asked for only if the parameters are known.
    """
    alike = {name: each for name, each in known.items() if each.params == values}
    if not alike:
        return None
    now = code().items()
    return next((name for name, each in alike.items() if now <= each.inputs.items()), None)


def table(
    known: Mapping[str, Experiment],
    bounds: Mapping[str, Bounds],
    flow_runs: Sequence[Run],
    versions: Mapping[str, Registered],
) -> pd.DataFrame:
    """As `gptcore.evaluation.runs`, with the columns of BOUNDS, the distance to the champion, and FLOPs."""
    measured = {name: Measured(each.params, each.metrics) for name, each in known.items()}
    started = {plain_name(run.name): Started(run.id, run.state, run.seconds) for run in reversed(flow_runs)}
    found = runs(measured, started, versions)
    for column in BOUNDS:
        found[column] = [bounds.get(name, {}).get(column) for name in found.index]
    champion = found.loc[found["is_champion"], BITS]
    found["against_champion"] = found[BITS] - (champion.iloc[0] if len(champion) else float("nan"))
    text = known.get(str(champion.index[0])) if len(champion) else None
    alike = [text is not None and name in known and _text(known[name]) == _text(text) for name in found.index]
    found.loc[[not each for each in alike], "against_champion"] = float("nan")
    flops = {name: cost.flops(each.params, each.metrics.get("model.tokens")) for name, each in known.items()}
    found["tera_flops"] = [None if (each := flops.get(name)) is None else each / 1e12 for name in found.index]
    found = found.astype({"state": object, "aliases": object}).fillna({"state": "", "aliases": ""})
    return found.astype(dict.fromkeys((*BOUNDS, "tera_flops"), float))


def _text(experiment: Experiment) -> tuple[Any, ...]:
    """What decides on the validation text: figures on two texts do not compare."""
    return experiment.outputs.get("data/raw"), *(experiment.params.get(f"tokenize.{each}") for each in SPLIT)


def of_here(started: Sequence[Run], known: Collection[str], checkout: Path) -> list[Run]:
    """The flow runs that have left something here: what is `known` by their names, or a workspace.

    Prefect may know runs of other checkouts, whose figures are there.
    """
    workspaces = Paths(checkout).scratch / "workspaces"
    here = {*known, *(each.name for each in workspaces.glob("*"))}
    return [run for run in started if plain_name(run.name) in here]


def matching(table: pd.DataFrame, words: Sequence[str]) -> pd.DataFrame:
    """The rows whose name or values have every word, in any case."""
    rows = [" ".join(map(str, row)).casefold() for row in table.reset_index().to_numpy()]
    return table[[all(word.casefold() in row for word in words) for row in rows]]


def places(column: pd.Series) -> dict[str, float]:
    """The values of a column as they are shown, and where each lies on an axis from 0 to 1: in their order, evenly.

    So a sweep over 0.001, 0.01 and 0.1 has room for each of them, and words have an axis as numbers do.
    """
    known = sorted({shown(value) for value in column}, key=_order)
    return {value: place / (len(known) - 1) if len(known) > 1 else 0.5 for place, value in enumerate(known)}


def shown(value: Any) -> str:
    """A value of a parameter in a few characters."""
    if value is None or value is pd.NA or value != value:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    try:
        return f"{float(value):g}"
    except (TypeError, ValueError):
        text = str(value) or "none"
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _order(value: str) -> tuple[bool, float, str]:
    """Numbers before words."""
    try:
        return False, float(value), ""
    except ValueError:
        return True, 0.0, value


def all_bounds(known: Mapping[str, Experiment], cache: Path) -> dict[str, Bounds]:
    """95 % intervals by name; without those whose file is not in DVC's cache folder."""
    found: dict[str, Bounds] = {}
    for name, experiment in known.items():
        with suppress(KeyError, TypeError, OSError, ValueError):
            read = read_json(cached_file(cache, experiment.outputs[INTERVALS]))
            found[name] = {column: float(read[of]["bits_per_byte"][end]) for column, (of, end) in BOUNDS.items()}
    return found
