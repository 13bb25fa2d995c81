"""Adapters on disk, bound to their base: what the train stage exports beside the merged model.

That peft loads them is in test_pretrained.py, whose process has transformers.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from gptcore.errors import UserError
from gptcore.model.folder import load_export
from gptcore.model.lora import merged
from gptcore.weights.adapter import CONFIG, WEIGHTS
from gptcore.weights.open_model import open_model
from tests.support.adapters import exported, lora_config
from tests.support.command import run_command
from tests.support.engine import GPT2, MODERN
from tests.support.weights import edit

IDS = torch.arange(16)[None]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    exported(folder, GPT2, lora_config())
    return folder


@pytest.mark.parametrize("base", ["float32", "nf4"])
@pytest.mark.parametrize("architecture", [GPT2, MODERN], ids=["gpt2", "modern"])
def test_an_adapter_on_its_base_is_the_merged_model(tmp_path: Path, architecture: dict[str, object], base: str) -> None:
    model = exported(tmp_path, architecture, lora_config(base=base))
    for name in ("export", "best"):
        whole, _ = load_export(tmp_path / "model" / name)
        added, _ = open_model(str(tmp_path / "base"), adapter=tmp_path / "model" / name)
        assert all(torch.equal(each, whole.state_dict()[key]) for key, each in added.state_dict().items())
    last, _ = load_export(tmp_path / "model/export")
    torch.testing.assert_close(last(IDS), model(IDS), rtol=0, atol=1e-5)
    assert not torch.equal(last(IDS), whole(IDS))
    assert torch.equal(last(IDS), merged(model)(IDS))


def refused(source: str, adapter: Path, said: str) -> None:
    with pytest.raises(UserError) as error:
        open_model(source, adapter=adapter)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_another_base_is_refused(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also the merged model itself, to which it would be added twice."""
    for words in (["sample", "a", "--model"], ["import"]):
        folders = [str(plain / "model/best"), *([str(tmp_path / "out")] if words == ["import"] else [])]
        assert run_command(monkeypatch, *words, *folders, "--adapter", str(plain / "model/best")) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "is an adapter of the model whose weights have sha256" in said
    assert not (tmp_path / "out").exists()


def test_the_command_merges(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["import", str(plain / "base"), str(tmp_path / "out"), "--adapter", str(plain / "model/best")]
    assert run_command(monkeypatch, *words) == 0
    name = "model.safetensors"
    assert (tmp_path / "out" / name).read_bytes() == (plain / "model/best" / name).read_bytes()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"revision": None}, "set its `revision` to the sha256"),
        ({"use_dora": True}, "use_dora is True; only False can be read"),
        ({"peft_type": "IA3"}, "peft_type is 'IA3'; only 'LORA' can be read"),
        ({"modules_to_save": ["wte"]}, "modules_to_save is ['wte']; only None can be read"),
        ({"alpha_pattern": {}, "lora_alpha": None}, "lora_alpha is None, not a number"),
        ({"alpha_pattern": {"attn.c.*": 3}}, "alpha_pattern names attn.c.*, which is no matrix of it"),
    ],
    ids=str,
)
def test_a_config_of_more_than_products_is_refused(
    plain: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    shutil.copytree(plain / "model/best", tmp_path / "adapter")
    edit(tmp_path / "adapter" / CONFIG, **changes)
    refused(str(plain / "base"), tmp_path / "adapter", said)


def test_factors_that_do_not_fit_are_refused(plain: Path, tmp_path: Path) -> None:
    shutil.copytree(plain / "model/best", tmp_path / "adapter")
    path, prefix = tmp_path / "adapter" / WEIGHTS, "base_model.model.transformer."
    a, b = (f"{prefix}h.0.mlp.c_fc.lora_{letter}.weight" for letter in "AB")
    whole = load_file(path)
    for tensors, said in (
        ({f"{prefix}wte.lora_A.weight": torch.ones(4, 32)}, "wte.lora_A.weight is no factor of one of attn.c_attn"),
        ({a: whole[a][:3]}, "h.0.mlp.c_fc has no lora_A and lora_B of the same rank"),
        ({b: whole[b][:9]}, "the factors of h.0.mlp.c_fc do not fit the base"),
        ({b: whole[b] * torch.nan}, "the factors of h.0.mlp.c_fc hold NaN"),
        ({a.replace("h.0", "h.7"): whole[a], b.replace("h.0", "h.7"): whole[b]}, "h.7.mlp.c_fc do not fit the base"),
    ):
        save_file({name: each.clone() for name, each in {**whole, **tensors}.items()}, path)
        refused(str(plain / "base"), tmp_path / "adapter", said)
    path.write_bytes(b"no tensors")
    refused(str(plain / "base"), tmp_path / "adapter", "holds no adapter that can be read")
    refused(str(plain / "base"), tmp_path / "nowhere", "holds no adapter that can be read")
