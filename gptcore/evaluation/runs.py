"""Every run as one table: DVC experiments, Prefect flow runs and model versions, joined by the name that they share."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd


class Measured(NamedTuple):
    """A DVC experiment; fields of both are flat, such as `train.steps` and `model.bits_per_byte`."""

    params: Mapping[str, Any]
    metrics: Mapping[str, Any]


class Started(NamedTuple):
    """A Prefect flow run, or what is known of it elsewhere."""

    id: str
    state: str
    seconds: float


class Registered(NamedTuple):
    """A version of the registered model; its tags hold what was measured when it was registered."""

    number: int
    aliases: tuple[str, ...]
    tags: Mapping[str, str]


def runs(
    experiments: Mapping[str, Measured], flow_runs: Mapping[str, Started], versions: Mapping[str, Registered]
) -> pd.DataFrame:
    """A row for each name, the lowest bits per byte first; what a name does not have is missing there.

    Columns: `state`, `flow_run_id` and `run_seconds` of the flow run; `version`, `aliases` and `is_champion` of the
    model version; the parameters that differ between the experiments; the metrics.
    """
    rows = {name: _row(name, experiments, flow_runs, versions) for name in [*experiments, *flow_runs, *versions]}
    differing = _differing([each.params for each in experiments.values()])
    measured = dict.fromkeys(name for each in experiments.values() for name in each.metrics)
    columns = ["state", "flow_run_id", "run_seconds", "version", "aliases", "is_champion", *differing]
    columns += ["model.bits_per_byte", *(name for name in measured if name != "model.bits_per_byte")]
    table = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns)
    table = table.astype({"version": "Int64", "is_champion": bool, "model.bits_per_byte": float, "run_seconds": float})
    return table.rename_axis("name").sort_values("model.bits_per_byte", kind="stable")


def _row(
    name: str,
    experiments: Mapping[str, Measured],
    flow_runs: Mapping[str, Started],
    versions: Mapping[str, Registered],
) -> dict[str, Any]:
    row: dict[str, Any] = {"is_champion": False}
    if version := versions.get(name):
        row |= {"version": version.number, "aliases": ", ".join(version.aliases)}
        row |= {"is_champion": "champion" in version.aliases, "flow_run_id": version.tags.get("flow_run_id")}
        if "bits_per_byte" in version.tags:
            row["model.bits_per_byte"] = float(version.tags["bits_per_byte"])
    if started := flow_runs.get(name):
        row |= {"state": started.state, "flow_run_id": started.id, "run_seconds": started.seconds}
    if experiment := experiments.get(name):
        row |= {**experiment.params, **experiment.metrics}
    return row


def _differing(params: list[Mapping[str, Any]]) -> list[str]:
    """The fields that are not the same in all of them, in the order of the first that has them."""
    fields = dict.fromkeys(field for each in params for field in each)
    return [field for field in fields if len({str(each.get(field, ...)) for each in params}) > 1]


def varied(table: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    """Those of `columns` that hold more than one value, or the first one when none does."""
    columns = list(columns)
    return varying(table, columns) or columns[:1]


def varying(table: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    """Those of `columns` that hold more than one value."""
    return [name for name in columns if table[name].map(str).nunique() > 1]
