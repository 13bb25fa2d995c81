"""A refactor reproduces the golden curves; run `python -m tests.support.golden` to change them deliberately."""

import pytest

from tests.support import golden


@pytest.mark.parametrize("name", golden.RECIPES)
def test_the_losses_are_the_golden_ones(name: str) -> None:
    # other processors and torch versions reorder float32 additions: the differences stay fifty times below this
    assert golden.curve(name) == pytest.approx(golden.read(name), rel=1e-4)
