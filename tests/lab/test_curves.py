"""Curves of trainings that go on and that have ended, and their texts."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.registry.tracking import Registry, opened
from lab.read import curves, texts
from lab.read.log import Point, Skip

RUN = "swift-otter"


@pytest.fixture
def registry(mlflow_database: Path, tmp_path: Path) -> Registry:
    """MLflow in the middle of a training."""
    shutil.copy(mlflow_database, tmp_path)
    with opened(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "mlartifacts") as found:
        run = found.client.create_run(found.experiment, tags={"flow_run_name": RUN}).info.run_id
        for step, loss in ((1, 3.0), (2, 2.5), (4, 2.0)):
            found.client.log_metric(run, "loss", loss, step=step)
        found.client.log_metric(run, "val_loss", 2.25, step=4)
        found.client.log_metric(run, "gradient_norm", 0.5, step=4)
        found.client.log_text(run, "ROMEO: to be", "samples/step-000001234.txt")
        return found


def test_what_mlflow_has_heard(registry: Registry) -> None:
    found = curves.tracked(registry, RUN)
    assert found["step"].tolist() == [1, 2, 4]
    assert found["loss"].tolist() == [3.0, 2.5, 2.0]
    assert found["val_loss"].isna().tolist() == [True, True, False]
    assert found["gradient_norm"].tolist()[2:] == [0.5]
    assert found["learning_rate"].isna().all()
    assert texts.heard(registry, RUN) == [("Step 1,234", "ROMEO: to be")]
    for other in ("no-run", "a'b", "a\"'b"):
        assert curves.tracked(registry, other).columns.tolist() == curves.nothing().columns.tolist()
        assert texts.heard(registry, other) == []


def test_files_before_mlflow_before_the_log() -> None:
    points = [Point(step, 9, "step", 3.0, val, 10.0, 1) for step, val in ((1, None), (2, 2.5), (3, 2.5), (4, 2.4))]
    log = curves.curve(None, curves.nothing(), points, 100)
    assert log[["tokens", "val_loss"]].to_numpy().tolist() == [[200, 2.5], [400, 2.4]]
    heard = pd.DataFrame({"step": [1, 2], "val_loss": [None, 2.25]}, dtype=float)
    assert curves.curve(None, heard, points, 100)["tokens"].tolist() == [200]
    finished = pd.DataFrame({"step": [1], "tokens": [10], "val_loss": [2.0]})
    assert curves.curve(finished, heard, points, 100) is finished


def test_a_batch_that_was_left_out_has_its_place_on_each_axis() -> None:
    known = pd.DataFrame({"step": [10, 20], "seconds": [1.0, 3.0], "val_loss": [3.0, 2.0]})
    skips = [Skip(15, float("nan"), 10, 14), Skip(20, 9.5, 10, 20)]
    assert curves.marks(skips, known, 100)[["step", "tokens", "seconds"]].to_numpy().tolist() == [
        [15, 1500, 2.0],
        [20, 2000, 3.0],
    ]
    untimed = curves.marks(skips, known[["step"]], None)
    assert untimed["tokens"].tolist() == [15, 20] and untimed["seconds"].isna().all()
    assert curves.marks([], known, 100).empty


@given(st.integers(0, 3000), st.integers(1, 500))
def test_a_long_curve_is_thinned_and_keeps_its_end(rows: int, most: int) -> None:
    table = pd.DataFrame({"step": range(rows)})
    found = curves.thinned(table, most)
    assert len(found) <= most + 1
    assert found["step"].is_monotonic_increasing
    assert found["step"].tail(1).tolist() == table["step"].tail(1).tolist()
