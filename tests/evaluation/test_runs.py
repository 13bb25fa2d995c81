"""Experiments, flow runs and versions as one table, and curves as another."""

from pathlib import Path

import pandas as pd
import pytest

from gptcore.evaluation.curves import curves, read_curve
from gptcore.evaluation.runs import Measured, Registered, Started, runs, varied

COMMON = {"model.n_layer": 4, "train.order": "epochs"}
EXPERIMENTS = {
    "calm-ant": Measured({**COMMON, "train.seed": 1}, {"model.loss": 3.7, "model.bits_per_byte": 2.05}),
    "bold-bee": Measured({**COMMON, "train.seed": 2}, {"model.loss": 3.6, "model.bits_per_byte": 2.01}),
}
STARTED = {"bold-bee": Started("id-b", "Completed", 90.0), "lost-cat": Started("id-c", "Crashed", 3.0)}
VERSIONS = {
    "bold-bee": Registered(2, ("champion", "challenger"), {"bits_per_byte": "2.01", "flow_run_id": "id-b"}),
    "old-dog": Registered(1, (), {"bits_per_byte": "2.2", "flow_run_id": "id-d"}),
}


def test_one_row_a_name_the_best_first() -> None:
    table = runs(EXPERIMENTS, STARTED, VERSIONS)
    assert list(table.index) == ["bold-bee", "calm-ant", "old-dog", "lost-cat"]
    assert list(table["is_champion"]) == [True, False, False, False]
    best = table.loc["bold-bee"]
    assert (best["version"], best["state"], best["flow_run_id"]) == (2, "Completed", "id-b")
    assert (best["train.seed"], best["model.loss"], best["aliases"]) == (2, 3.6, "champion, challenger")
    assert table.loc["old-dog", "model.bits_per_byte"] == 2.2  # of the version's tags: it has no experiment here
    assert table["version"].isna()["lost-cat"]


def test_only_parameters_that_differ_have_a_column() -> None:
    table = runs(EXPERIMENTS, {}, {})
    assert [name for name in table.columns if name in (*COMMON, "train.seed")] == ["train.seed"]


def test_nothing_is_an_empty_table() -> None:
    assert runs({}, {}, {}).empty


def test_varied_columns() -> None:
    table = pd.DataFrame({"a": [1, 1], "b": [None, True], "c": ["x", "y"]})
    assert varied(table, table.columns) == ["b", "c"]
    assert varied(table, ["a"]) == ["a"]


def test_curves_of_several_runs(tmp_path: Path) -> None:
    curve, timing = tmp_path / "curve.csv", tmp_path / "timing.csv"
    curve.write_text("step,tokens,val_loss\n1,10,2.5\n2,20,2.0\n")
    timing.write_text("step,seconds\n1,0.5\n2,1.0\n")
    table = curves({"a": (curve, timing), "b": (curve, timing)})
    assert list(table["name"]) == ["a", "a", "b", "b"]
    assert table[table["name"] == "b"]["seconds"].tolist() == [0.5, 1.0]
    timing.write_text("step,seconds\n1,0.5\n1,1.0\n")
    with pytest.raises(ValueError, match="not unique"):
        read_curve(curve, timing)
