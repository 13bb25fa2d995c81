"""The pictures of the pages, as Vega draws them."""

from collections.abc import Hashable
from typing import Any

import pandas as pd
import pytest

from lab.page import charts
from lab.read import curves
from lab.read.log import Skip

SWEEP = pd.DataFrame(
    {
        "optim.matrix_learning_rate": ["1e-3", 0.01, 0.1],
        "model.activation": ["gelu", "relu2", "gelu"],
        "train.seed": [1, 1, 2],
        "bits per byte": [2.5, 2.0, 2.25],
    },
    index=["calm-fox", "old-owl", "swift-otter"],
)
BEST = "bits per byte"


def drawn(chart: charts.Spec) -> tuple[charts.Spec, list[list[dict[Hashable, Any]]]]:
    """What Vega gets, and the rows of each layer."""
    return chart, [chart["datasets"][each["data"]["name"]].to_dict("records") for each in chart["layer"]]


def test_a_sweep_has_an_axis_for_each_parameter_and_for_its_figure() -> None:
    columns = ["optim.matrix_learning_rate", "model.activation", "train.seed"]
    found, (lines, told, names, *_) = drawn(charts.parallel(SWEEP, columns, BEST))
    axes = ["optim matrix_learning_rate", "model activation", "train seed", BEST]
    assert found["layer"][0]["encoding"]["y"]["sort"] == axes == [each["axis"] for each in names]
    ways = {
        run: [each["place"] for each in sorted(lines, key=lambda row: row["number"]) if each["run"] == run]
        for run in SWEEP.index
    }
    assert ways == {
        "calm-fox": [0.0, 0.0, 0.0, 1.0],
        "old-owl": [0.5, 1.0, 0.0, 0.0],  # the lowest figure is on the left
        "swift-otter": [1.0, 0.0, 1.0, 0.5],
    }
    assert {(each["axis"], each["value"]) for each in told} == {
        *((axes[0], value) for value in ("0.001", "0.01", "0.1")),
        *((axes[1], value) for value in ("gelu", "relu2")),
        *((axes[2], value) for value in ("1", "2")),
        *((axes[3], value) for value in ("2.000", "2.500")),
    }


def test_of_many_values_the_first_and_the_last_are_written_down() -> None:
    many = pd.DataFrame({"train.seed": range(9), BEST: 2.0}, index=[f"run-{each}" for each in range(9)])
    _, (_, told, *_) = drawn(charts.parallel(many, ["train.seed"], BEST))
    assert [each["value"] for each in told if each["axis"] == "train seed"] == ["0", "8"]


@pytest.mark.parametrize("over", ["tokens", "seconds"])
def test_a_batch_that_the_guard_has_left_out_is_marked(over: str) -> None:
    known = pd.DataFrame({"step": [10, 20], "tokens": [1000, 2000], "seconds": [1.0, 2.0], "val_loss": [3.0, 2.5]})
    marks = curves.marks([Skip(15, 9.5, 10, 14)], known, 100).assign(side="model")
    found, (_, rules) = drawn(charts.losses(known.assign(side="model"), over, marks))
    assert [each["mark"]["type"] for each in found["layer"]] == ["line", "rule"]
    assert found["layer"][1]["encoding"]["x"]["field"] == over
    (rule,) = rules
    assert (rule[over], rule["loss"], rule["back_to"], rule["batch"]) == (
        {"tokens": 1500, "seconds": 1.5}[over],
        9.5,
        10,
        14,
    )
    assert len(charts.losses(known.assign(side="model"), over, marks[:0])["layer"]) == 1
