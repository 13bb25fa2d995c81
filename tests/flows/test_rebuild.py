"""A version made again: restored, run again, made to differ, and what is gone."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from flows.rebuild_gpt import rebuild_gpt
from gptcore.config.params import read_params
from gptcore.errors import UserError
from gptcore.evaluation.rebuilt import TIMED, Made, compared, first_difference
from gptcore.registry.tracking import opened_in
from tests.support import scratch
from tests.tasks.test_verify import object_of

STAGES = {"tokenize": ["data/tokens"], "train": ["data/model/export", "data/model/timing.csv"], "evaluate": ["e"]}
OUTPUTS = {"data/tokens": "1", "data/model/export": "2", "data/model/timing.csv": "3", "e": "4"}


def made(outputs: dict[str, str] | None = None, bits: str = "2.05", on: str = "abacus") -> Made:
    return Made({**OUTPUTS, **(outputs or {})}, "5a", bits, on)


@pytest.mark.parametrize(
    ("now", "low", "high", "is_same", "said"),
    [
        (made({"data/model/timing.csv": "9"}), 0, 0, True, "the same bit for bit, 2.05 bits per byte, on abacus"),
        (
            made({"e": "9", "data/model/export": "8"}),
            0,
            0,
            False,
            "both times: the first stage that differs is train (data/",
        ),
        (
            made({"e": "9"}, "2.06", "slide rule"),
            -0.01,
            0.02,
            True,
            "the same within the noise on slide rule instead of",
        ),
        (
            made({"e": "9"}, "2.06", "slide rule"),
            0.01,
            0.02,
            False,
            "not the same on slide rule instead of abacus: its",
        ),
        (made(None, "2.06"), 0, 0, False, "the first stage that differs is evaluate (its bits per byte)"),
    ],
)
def test_what_counts_as_the_same(now: Made, low: float, high: float, is_same: bool, said: str) -> None:
    found = compared(STAGES, made(), now, low, high)
    assert found.is_same == is_same and said in found.sentence


def test_weights_count_even_if_dvc_says_nothing() -> None:
    assert "the weights alone" in first_difference({}, made(), Made(OUTPUTS, "other", "2.05", "abacus"))


def test_outputs_that_tell_the_time_are_those_of_dvc_yaml() -> None:
    stages = read_params(scratch.CHECKOUT / "dvc.yaml")["stages"].values()
    assert set(TIMED) <= {path for each in stages for path in [*each["outs"], *each.get("metrics", [])]}


def tag(project: Path) -> Any:
    with opened_in(project) as registry:
        return registry.version(1).tags.get("rebuild")


def workspaces(project: Path) -> list[Path]:
    return list((project / "data/scratch/workspaces").glob("*"))


def test_a_version_is_made_again(finished: Path) -> None:
    before = scratch.steps_taken(finished)
    scratch.set_steps(finished, scratch.STEPS_BETTER)  # what the checkout is now does not matter
    said = "gpt version 1, made again, is the same bit for bit, 2.05 bits per byte, on abacus; "
    lost = object_of(finished, "data/tokens")
    lost.unlink()
    assert rebuild_gpt(1, return_state=True).message == f"{said}ran again: tokenize"
    assert lost.exists(), "as `gptcore registry verify` says"
    assert scratch.steps_taken(finished) == before
    assert rebuild_gpt(1, rerun=True) == f"{said}ran again: tokenize, train, baseline, evaluate"
    assert str(tag(finished)).endswith("ran again: tokenize, train, baseline, evaluate")
    assert workspaces(finished) == []

    with opened_in(finished) as registry:
        registry.tag(1, {**registry.version(1).tags, "data.data/tokens": "0"})
    with pytest.raises(
        UserError, match=r"^gpt version 1, made again, is not the same, though .* is tokenize \(data/tok"
    ):
        rebuild_gpt(1)
    assert "tokenize (data/tokens)" in str(tag(finished))


def test_what_is_gone_is_one_line_and_nothing_moves(finished: Path) -> None:
    with pytest.raises(UserError, match=r"^there is no gpt version 9; there are: 1$"):
        rebuild_gpt(9)
    references = scratch.run(finished, "git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
    (reference,) = (each for each in references if each.count("/") == 4)
    subprocess.run(["git", "init", "--quiet", "--bare", "elsewhere.git"], cwd=finished.parent, check=True)
    scratch.run(finished, "git", "remote", "add", "origin", str(finished.parent / "elsewhere.git"))
    scratch.run(finished, "git", "update-ref", "-d", reference)
    with pytest.raises(UserError, match=r"^the DVC experiment .* is not here or at the git remote origin; it is gone"):
        rebuild_gpt(1)
    assert workspaces(finished) == []
