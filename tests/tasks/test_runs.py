"""The tables of runs, from a real project, server and registry."""

from pathlib import Path

import pytest

from flows.train_gpt import train_gpt
from gptcore.errors import UserError
from tasks.runs import curves, runs
from tests.support import scratch


def test_a_run_is_one_row_with_what_each_system_knows_of_it(finished: Path) -> None:
    table = runs()
    (champion,) = table[table["is_champion"]].to_dict("records")
    assert (champion["version"], champion["state"]) == (1, "Completed")
    assert champion["model.bits_per_byte"] == pytest.approx(2.05)

    assert "version 2 is the new champion" in train_gpt([f"train.steps={scratch.STEPS_BETTER}"])
    table = runs()
    measured = table[table["model.bits_per_byte"].notna()]
    assert list(measured["train.steps"]) == [scratch.STEPS_BETTER, scratch.STEPS]
    assert list(measured["is_champion"]) == [True, False]

    both = curves(list(measured.index))
    assert list(both.groupby("name")["val_loss"].last()) == [1.5, 1.5]
    with pytest.raises(UserError, match="there is no experiment nobody"):
        curves(["nobody"])
