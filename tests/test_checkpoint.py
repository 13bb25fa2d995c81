"""Resume state and export: whole, checked, free of pickle."""

from pathlib import Path

import pytest
import torch

from gptcore.checkpoint import Progressed, load_checkpoint, load_export, save_checkpoint, save_export
from gptcore.errors import UserError
from gptcore.files import read_json, write_json
from gptcore.model import GPT
from gptcore.tokenizer import Tokenizer
from tests.engine import GPT2, MODERN, make_workspace, model_config

IDENTITY = {"model": {"n_layer": 2}, "seed": 1}


def save(folder: Path, step: int) -> None:
    progressed = Progressed(step, 1.5, 0.1 + 0.2, [{"step": step, "val_loss": 1 / 3}], [])
    save_checkpoint(folder, IDENTITY, {"w": torch.full((3,), float(step)), "rng": torch.get_rng_state()}, progressed)


def loaded_step(folder: Path) -> int:
    found = load_checkpoint(folder, IDENTITY)
    assert found is not None
    return found[1].step


def test_state_comes_back_to_the_bit(tmp_path: Path) -> None:
    save(tmp_path, 10)
    tensors, progressed = load_checkpoint(tmp_path, IDENTITY) or pytest.fail("nothing found")
    assert tensors["w"].tolist() == [10.0] * 3 and torch.equal(tensors["rng"], torch.get_rng_state())
    assert progressed.loss_sum == 0.1 + 0.2 and progressed.rows == [{"step": 10, "val_loss": 1 / 3}]


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (8, 9, 10, 100):
        save(tmp_path, step)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["step-000000010", "step-000000100"]


@pytest.mark.parametrize("fault", ["flipped", "cut", "emptied", "no json"])
def test_a_damaged_checkpoint_is_passed_over_and_said(
    tmp_path: Path, fault: str, capsys: pytest.CaptureFixture
) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    newest = tmp_path / "step-000000002"
    state = newest / "state.safetensors"
    whole = state.read_bytes()
    if fault == "flipped":
        state.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    elif fault == "cut":
        state.write_bytes(whole[: len(whole) // 2])
    elif fault == "emptied":
        state.write_bytes(b"")
    else:
        (newest / "state.json").write_text("{")
    assert loaded_step(tmp_path) == 1
    assert "is damaged" in capsys.readouterr().out


def test_a_half_written_checkpoint_is_not_seen(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (tmp_path / ".step-000000002.99.tmp").mkdir()
    assert loaded_step(tmp_path) == 1


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    save(tmp_path, 1)
    with pytest.raises(UserError, match=r"another run \(its model.n_layer is 2, this run's is 4\); delete"):
        load_checkpoint(tmp_path, {"model": {"n_layer": 4}, "seed": 1})


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return Tokenizer.load(make_workspace(tmp_path / "workspace") / "data/tokens/tokenizer.json")


@pytest.mark.parametrize("values", [GPT2, MODERN], ids=["gpt2", "modern"])
def test_an_export_computes_the_same(tmp_path: Path, tokenizer: Tokenizer, values: dict) -> None:
    model = GPT(model_config(values), tokenizer.n_vocab, seed=5).eval()
    torch.nn.init.normal_(model.lm_head.weight)
    save_export(tmp_path / "export", model, tokenizer)
    again, its_tokenizer = load_export(tmp_path / "export")
    ids = torch.arange(12).view(1, 12)
    assert torch.equal(model(ids), again(ids))
    assert its_tokenizer.encode("To be").tolist() == tokenizer.encode("To be").tolist()


def test_an_export_that_does_not_fit_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    save_export(tmp_path / "export", GPT(model_config(GPT2), tokenizer.n_vocab), tokenizer)
    config = tmp_path / "export/config.json"
    write_json(config, {**read_json(config), "n_layer": 3})
    with pytest.raises(UserError, match="holds no model that can be read"):
        load_export(tmp_path / "export")
