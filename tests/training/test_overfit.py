"""`gptcore overfit`: a correct model memorizes one batch, and nothing is written."""

import contextlib
import math
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from gptcore.commands import overfit
from gptcore.errors import UserError
from gptcore.training.overfit import least_loss
from tests.support.engine import ADAMW, GPT2, MUON, make_workspace


def files(root: Path) -> set[Path]:
    return {each for each in root.rglob("*") if each.is_file()}


@pytest.mark.parametrize("sections", [{"model": {**GPT2, "dropout": 0.1}, "optim": ADAMW}, {"optim": MUON}])
def test_one_batch_is_learned_by_heart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sections: dict[str, object]
) -> None:
    root = make_workspace(tmp_path / "sound", **sections)
    before = files(root)
    capsys.readouterr()
    with contextlib.chdir(root):
        overfit.run(Namespace(steps=300))
    *steps, verdict = capsys.readouterr().out.splitlines()
    losses = [float(line.split()[-1]) for line in steps]
    assert losses == sorted(losses, reverse=True) and len(losses) > 2
    assert verdict.startswith("the batch is known by heart: loss ") and files(root) == before


def test_one_that_does_not_learn_exits_1_with_a_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_workspace(tmp_path / "slow")
    capsys.readouterr()
    with contextlib.chdir(root), pytest.raises(SystemExit) as end:
        overfit.run(Namespace(steps=3))
    hint = capsys.readouterr().err
    assert end.value.code == 1 and "has to be at or under" in hint and hint.count("\n") == 1
    with contextlib.chdir(tmp_path), pytest.raises(UserError, match=r"params.yaml is missing"):
        overfit.run(Namespace(steps=3))


def test_the_least_loss_is_the_guess_where_windows_begin_alike() -> None:
    ids = torch.tensor([[1, 2, 3], [1, 2, 3], [1, 4, 3], [5, 2, 3]])
    targets = torch.tensor([[2, 3, 7], [2, 3, 8], [4, 3, 7], [2, 3, 7]])
    guesses = [3 * math.log(3) - 2 * math.log(2), 2 * math.log(2)]  # after 1: 2, 2 or 4; after 1 2 3: 7 or 8
    assert least_loss(ids, targets) == pytest.approx(sum(guesses) / 12)
    assert least_loss(torch.tensor([[1, 2]]), torch.tensor([[2, 9]])) == 0
