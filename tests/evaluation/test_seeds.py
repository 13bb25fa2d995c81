"""Several seeds of one recipe speak together."""

import math

import pytest

from gptcore.errors import UserError
from gptcore.evaluation.measured import Measured, Scored
from gptcore.evaluation.seeds import same_but_seeds, verdict_over_seeds


def scored(*bits: float) -> Scored:
    losses = [10 * math.log(2) * each for each in bits]
    return Scored(losses=losses, tokens=[5.0] * len(bits), whole_losses=sum(losses), whole_tokens=5.0 * len(bits))


def seed(off: float, baseline: float = 0.0, text: str = "a") -> Measured:
    return Measured(
        text_sha256=text, by="documents", windows_per_part=1, freedom=3, bytes=[10.0] * 4, whole_bytes=40,
        model=scored(*(each + off for each in (1.9, 2.0, 2.1, 2.0))),
        baseline=scored(*(each + baseline for each in (2.0, 2.1, 2.2, 2.11))),
    )  # fmt: skip


def test_noise_between_seeds_can_outweigh_a_sure_difference_on_the_text() -> None:
    alike = verdict_over_seeds([seed(0.0), seed(0.001), seed(-0.001)])
    assert alike.startswith("The model is better than the baseline: the difference is -0.1")
    assert "95 %, over text and seeds: 3 seeds of the model and 1 of the baseline" in alike
    apart = verdict_over_seeds([seed(0.0), seed(0.15, 0.01), seed(-0.15, 0.02)])
    assert apart.startswith("No difference from the baseline is shown: it is -0.")
    assert "3 seeds of the model and 3 of the baseline" in apart


def test_other_texts_and_single_seeds_are_refused() -> None:
    with pytest.raises(UserError, match="measured on different texts"):
        verdict_over_seeds([seed(0.0), seed(0.0, text="b")])
    with pytest.raises(UserError, match="needs two of them, with baselines"):
        verdict_over_seeds([seed(0.0).model_copy(update={"baseline": None}), seed(0.0)])


def test_runs_that_differ_only_in_seeds_belong_together() -> None:
    runs = [{"train.seed": each, "baseline.seed": each, "train.steps": steps}
            for steps, each in ((10, 1), (20, 1), (10, 2), (30, 1), (10, 3))]  # fmt: skip
    assert same_but_seeds(runs) == [[0, 2, 4]]
