"""The exported model: complete, bit-exact, free of pickle."""

import subprocess
from pathlib import Path

import pytest
import torch

from gptcore.errors import UserError
from gptcore.files import SUMS, read_json, sha256sums, write_json
from gptcore.model.folder import load_export, save_export
from gptcore.model.gpt import GPT
from gptcore.tokens.tokenizer import Tokenizer
from tests.support.engine import GPT2, MODERN, make_workspace, model_config


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
    (tmp_path / "export" / SUMS).write_text(sha256sums(tmp_path / "export"))
    with pytest.raises(UserError, match=r"model.safetensors: .*: h.2.attn.c_attn.bias is missing"):
        load_export(tmp_path / "export")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_export_is_named_with_what_to_do(tmp_path: Path, tokenizer: Tokenizer, name: str) -> None:
    save_export(tmp_path / "export", GPT(model_config(GPT2), tokenizer.n_vocab), tokenizer)
    path = tmp_path / "export" / name
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    with pytest.raises(UserError, match=rf"{name} is damaged: its sha256 is [0-9a-f]+, not .*chmod u\+w .*dvc repro`"):
        load_export(tmp_path / "export")
    path.unlink()
    with pytest.raises(UserError, match=rf"holds no model that can be read: .*{name}"):
        load_export(tmp_path / "export")


def test_sha256sum_reads_our_sums(tmp_path: Path, tokenizer: Tokenizer) -> None:
    save_export(tmp_path / "export", GPT(model_config(GPT2), tokenizer.n_vocab), tokenizer)
    subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=tmp_path / "export", check=True)
