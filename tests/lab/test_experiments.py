"""All runs as one table."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gptcore.config.params import read_params
from gptcore.config.presets import flatten
from gptcore.evaluation.runs import Registered
from lab.read.experiments import BOUNDS, matching, of_here, places, same, table
from lab.read.prefect import Run
from tasks.dvc.experiments import Experiment
from tests.support.scratch import CHECKOUT

PARAMS = flatten(read_params(CHECKOUT / "params.yaml"))
BITS = {"swift-otter": 2.0, "calm-fox": 1.5, "old-owl": 1.75}


@pytest.fixture
def known() -> dict[str, Experiment]:
    return {
        name: Experiment(
            name, {**PARAMS, "train.steps": number}, {"code.py": "a"},
            {"model.bits_per_byte": bits, "model.tokens": 1000, "model.seconds": 2.0}, {},
        )
        for number, (name, bits) in enumerate(BITS.items())
    }  # fmt: skip


def test_runs_beside_their_baseline_and_the_champion(known: dict[str, Experiment]) -> None:
    failed = Run("7", "lost cause", "Failed", "FAILED", "", {}, [], datetime.now(UTC), 3.0, None)
    versions = {"old-owl": Registered(1, ("champion",), {"bits_per_byte": "1.75"})}
    found = table(known, {"calm-fox": dict(zip(BOUNDS, (1.4, 1.6, -0.2, -0.1), strict=True))}, [failed], versions)
    assert found.index.tolist() == ["calm-fox", "old-owl", "swift-otter", "lost-cause"]
    assert found["against_champion"].tolist()[:3] == [-0.25, 0.0, 0.25]
    known["calm-fox"].outputs["data/raw"] = "of another corpus"
    assert table(known, {}, [], versions)["against_champion"].isna().tolist() == [True, False, False]
    assert found.loc["calm-fox", [*BOUNDS]].tolist() == [1.4, 1.6, -0.2, -0.1]
    assert found["tera_flops"].notna().tolist() == [True, True, True, False]
    assert found["state"].tolist() == ["", "", "", "Failed"]
    assert matching(found, ["FAILED"]).index.tolist() == ["lost-cause"]
    assert matching(found, ["o", "champion"]).index.tolist() == ["old-owl"]
    assert matching(found, []).equals(found)


def test_runs_of_other_checkouts_are_left_out(tmp_path: Path) -> None:
    begun = [Run(name, name, "Running", "RUNNING", "", {}, [], None, 0.0, None) for name in ("calm fox", "b", "c")]
    (tmp_path / "data/scratch/workspaces/b").mkdir(parents=True)
    assert [each.id for each in of_here(begun, {"calm-fox"}, tmp_path)] == ["calm fox", "b"]
    assert of_here(begun, set(), tmp_path / "no checkout") == []


def test_without_experiments_and_versions(known: dict[str, Experiment]) -> None:
    assert table({}, {}, [], {}).empty
    assert table(known, {}, [], {})["against_champion"].isna().all()
    assert isinstance(matching(table({}, {}, [], {}), ["x"]), pd.DataFrame)


@pytest.mark.parametrize(
    ("values", "axis"),
    [
        ([0.1, "1e-3", 0.01, 0.1], {"0.001": 0.0, "0.01": 0.5, "0.1": 1.0}),
        (["wsd", "cosine"], {"cosine": 0.0, "wsd": 1.0}),
        ([True, False, None], {"false": 0.0, "none": 0.5, "true": 1.0}),
        (["", 20, float("nan"), 3], {"3": 0.0, "20": 0.5, "none": 1.0}),
        ([[0.9, 0.95], [0.9, 0.95]], {"[0.9, 0.95]": 0.5}),
    ],
)
def test_values_lie_evenly_in_their_order_numbers_before_words(values: list[Any], axis: dict[str, float]) -> None:
    assert places(pd.Series(values, dtype=object)) == axis


def test_what_is_cached_has_the_same_parameters_and_code(known: dict[str, Experiment]) -> None:
    wanted = {**PARAMS, "train.steps": 1}
    assert same(wanted, known, lambda: {"code.py": "a"}) == "calm-fox"
    assert same(wanted, known, lambda: {"code.py": "b"}) is None
    assert same({**wanted, "train.seed": 9}, known, dict[str, Any]) is None
