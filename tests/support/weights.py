"""Weights in the forms of other programs, made and damaged for the tests of `gptcore import` and `export`."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from gptcore.errors import UserError
from gptcore.model.gpt import GPT
from gptcore.weights.pretrained import read_pretrained
from tests.support.engine import model_config

TEXT = "Full of sound and fury,\n\n  signifying nothing: \u00e9t\u00e9 \U0001f3ad don't 1606!\t"
VOCAB = 257  # bytes and <|endoftext|>


def random_model(values: dict[str, Any], vocab_size: int = VOCAB, **changes: Any) -> GPT:
    """A model whose tensors, biases and norms included, are all random: a swapped pair would show."""
    model = GPT(model_config(values, **changes), vocab_size).eval()
    generator = torch.Generator().manual_seed(1)
    for each in model.parameters():
        each.data.normal_(0.0, 0.1, generator=generator)
    return model


def assert_same(one: GPT, other: GPT) -> None:
    """Assert that tensors are bit-equal and that names, sizes and config fields match."""
    assert one.config == other.config
    assert one.vocab_size == other.vocab_size
    first, second = one.state_dict(), other.state_dict()
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)
    ids = torch.arange(8)[None] % one.vocab_size
    assert torch.equal(one(ids), other(ids))


def nanogpt_checkpoint(path: Path, model: GPT, prefix: str = "", **changes: Any) -> Path:
    """The dict that nanoGPT's train.py saves, with the keys that older versions and torch.compile add."""
    weights = {
        f"{prefix}{'' if name.startswith('lm_head') else 'transformer.'}{name}": each
        for name, each in model.state_dict().items()
    }
    names = ("n_layer", "n_head", "n_embd", "block_size", "bias", "dropout")
    sizes = {name: getattr(model.config, name) for name in names}
    mask = torch.ones(1, 1, model.config.block_size, model.config.block_size).tril()
    checkpoint = {
        "model": {**weights, f"{prefix}transformer.h.0.attn.bias": mask},
        "optimizer": torch.optim.AdamW(model.parameters()).state_dict(),
        "model_args": {**sizes, "vocab_size": model.vocab_size},
        "iter_num": 2000,
        "best_val_loss": torch.tensor(1.88),
        "config": {"dataset": "shakespeare_char", "learning_rate": 1e-3, "compile": False},
    }
    torch.save({**checkpoint, **changes}, path)
    return path


def edit(path: Path, **changes: Any) -> None:
    values = json.loads(path.read_text())
    path.write_text(json.dumps({name: each for name, each in {**values, **changes}.items() if each is not ...}))


def refused(source: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        read_pretrained(source)
    assert said in str(error.value)
    assert source in str(error.value)
    assert "\n" not in str(error.value)


def rewrite(folder: Path, **tensors: torch.Tensor) -> None:
    path = folder / "model.safetensors"
    save_file({**load_file(path), **{name.replace("__", "."): each for name, each in tensors.items()}}, path)
