"""What is known of a run before it has an experiment."""

from typing import Any

import pytest

from lab.read.params import asked
from lab.read.prefect import Run

FORM = {"overrides": ["gate.alpha=0.1"], "model": "baby", "optim": "params.yaml", "steps": 3, "seed": None}


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, "params.yaml as it is"),
        ({"overrides": ["train.steps=7"], "promotion": False}, "train.steps=7"),
        (FORM, "model=baby train.steps=3 gate.alpha=0.1"),  # of Prefect's own form
        ({**FORM, "overrides": ["model=nano"]}, "model=nano"),  # which the flow refuses
        ({"version": 3}, "version 3 again, to compare the two"),
    ],
)
def test_what_a_run_makes_is_a_line(parameters: dict[str, Any], said: str) -> None:
    assert asked(Run("7", "swift-otter", "Running", "RUNNING", "", parameters, [], None, 0.0, None)) == said
