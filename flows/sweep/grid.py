"""The members of a sweep: every combination of a grid's values, or some of them drawn at random."""

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptcore.config.overrides import override
from gptcore.config.plain_yaml import load_yaml
from gptcore.config.presets import compose, flatten
from gptcore.errors import UserError

Grid = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Member:
    """One combination: the swept values, the overrides that set them, and the resulting params.yaml."""

    values: dict[str, Any]
    overrides: list[str]
    params: dict[str, Any]


def choose(grid: Grid, samples: int | None, seed: int, params: Path) -> list[Member]:
    """The members of `grid`, at most `samples` of them, without those that repeat an earlier one's parameters.

    Raises UserError if the grid or a member is invalid.
    """
    for name, values in grid.items():
        if not values:
            raise UserError(f"the sweep's grid has no value for {name}; write {name}=[one,another]")
    if not grid:
        raise UserError('the sweep\'s grid is empty; write such as {"train.seed": [1, 2]}')
    combinations = [dict(zip(grid, each, strict=True)) for each in itertools.product(*grid.values())]
    if samples is not None and samples < len(combinations):
        combinations = random.Random(seed).sample(combinations, samples)
    members: list[Member] = []
    for each in combinations:
        overrides = [override(name, value) for name, value in each.items()]
        found = flatten(compose(overrides, params))
        # as composed: an alias means for every member what it means now
        pinned = [override(name, found.get(name, value)) for name, value in each.items()]
        member = Member(each, pinned, found)
        if not any(member.params == other.params for other in members):
            members.append(member)
    return members


def parse(texts: list[str]) -> dict[str, list[Any]]:
    """`["model=[nano,baby]"]` -> `{"model": ["nano", "baby"]}`. Raises UserError."""
    grid: dict[str, list[Any]] = {}
    for text in texts:
        name, _, listed = text.partition("=")
        try:
            values = load_yaml(listed)
        except ValueError:
            values = None
        if name in grid:
            raise UserError(f"{name} is given twice; write one list of its values, {name}=[one,another]")
        if not isinstance(values, list):
            raise UserError(f"cannot read `{text}`; write name=[one,another], such as train.seed=[1,2]")
        grid[name] = values
    return grid
