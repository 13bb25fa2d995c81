"""The models of a folder in the order of their steps."""

from pathlib import Path

import pytest

from gptcore.errors import UserError
from gptcore.evaluation.checkpoints import checkpoints
from gptcore.model.folder import save_export
from gptcore.tokens.make_tokenizer import byte_tokenizer
from tests.support.engine import GPT2
from tests.support.weights import random_model


def save(folder: Path, n_layer: int = 1) -> None:
    save_export(folder, random_model(GPT2, n_layer=n_layer), byte_tokenizer())


def test_the_last_number_of_a_name_is_the_step(tmp_path: Path) -> None:
    for name in ("step-1000", "step-200", "a 100% x2"):
        save(tmp_path / name)
    (tmp_path / "step-5").mkdir()  # not a model
    (tmp_path / "step-6.txt").touch()
    assert [(each.step, each.folder.name) for each in checkpoints(tmp_path)] == [
        (2, "a 100% x2"), (200, "step-200"), (1000, "step-1000")
    ]  # fmt: skip


def test_the_curve_tells_the_steps_of_a_training(tmp_path: Path) -> None:
    save(tmp_path / "best")
    save(tmp_path / "export", n_layer=2)
    (tmp_path / "curve.csv").write_text("step,val_loss\n0,5.0\n10,2.0\n20,3.0\n")
    assert [(each.step, each.folder.name) for each in checkpoints(tmp_path)] == [(10, "best"), (20, "export")]
    (tmp_path / "curve.csv").write_text("step,val_loss\n0,5.0\n10,2.0\n")
    with pytest.raises(UserError, match=r"best and .*export are both of step 10; move one elsewhere"):
        checkpoints(tmp_path)
    save(tmp_path / "export")  # the last is the best
    assert [each.step for each in checkpoints(tmp_path)] == [10]


def test_folders_without_models_or_steps(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no model folder"):
        checkpoints(tmp_path)
    save(tmp_path / "mine")
    with pytest.raises(UserError, match="does not say of which step it is; name it such as step-2000"):
        checkpoints(tmp_path)
