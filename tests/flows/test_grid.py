"""Which runs a sweep consists of."""

from pathlib import Path

import pytest

from flows.sweep.grid import choose, parse
from gptcore.config.presets import compose
from gptcore.errors import UserError

PARAMS = Path(__file__).parents[2] / "params.yaml"
GRID = {"train.seed": [1, 2, 3], "model": ["nano", "baby"]}


def test_every_combination_with_its_overrides() -> None:
    members = choose(GRID, None, 0, PARAMS)
    assert [member.overrides for member in members][:2] == [
        ["train.seed=1", "model=nano"],
        ["train.seed=1", "model=baby"],
    ]
    assert len(members) == 6
    assert members[1].params["train.seed"] == 1
    assert members[1].params["model.n_layer"] == compose(["model=baby"], PARAMS)["model"]["n_layer"]


def test_random_ones_are_the_same_for_a_seed() -> None:
    drawn = [member.overrides for member in choose(GRID, 3, 7, PARAMS)]
    assert len(drawn) == 3
    assert drawn == [member.overrides for member in choose(GRID, 3, 7, PARAMS)]
    assert drawn != [member.overrides for member in choose(GRID, 3, 8, PARAMS)]


def test_values_of_every_kind_survive() -> None:
    grid = {"optim.adam_betas": [[0.9, 0.95]], "model.bias": [True], "optim.adam_eps": [1e-9], "train.seed": [5, "5"]}
    (member,) = choose(grid, None, 0, PARAMS)  # 5 and "5" are equal
    assert member.params["optim.adam_betas"] == [0.9, 0.95]
    assert member.params["model.bias"] is True
    assert member.params["optim.adam_eps"] == 1e-9


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ({}, "grid is empty"),
        ({"train.seed": []}, "no value for train.seed"),
        ({"train.seed": [1], "train.stepps": [5]}, "stepps"),
        ({"train.steps": [10, -1]}, "steps"),
        ({"model": ["nano", "babby"]}, "did you mean baby"),
    ],
)
def test_a_mistake_is_told_before_anything_starts(grid: dict[str, list[object]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        choose(grid, None, 0, PARAMS)


def test_texts_are_data() -> None:
    texts = ["${oc.env:HOME}", "a, b", "yes: #1", "it's [", ""]
    members = choose({"train.sample_prompt": texts}, None, 0, PARAMS)
    assert [member.params["train.sample_prompt"] for member in members] == texts


def test_grid_of_the_command_line() -> None:
    assert parse(["model=[nano,baby]", "optim.adam_eps=[1e-9, 2]"]) == {
        "model": ["nano", "baby"],
        "optim.adam_eps": [1e-9, 2],
    }
    for text in ("train.seed=1", "train.seed", "train.seed=[1", "train.seed=[2024-01-01]"):
        with pytest.raises(UserError, match="write name="):
            parse([text])
    with pytest.raises(UserError, match=r"train.seed is given twice"):
        parse(["train.seed=[1]", "train.seed=[2]"])
