"""Adapters as the train stage writes them, without its training."""

from pathlib import Path
from typing import Any

import torch

from gptcore.model.folder import save_export, weights_sha256
from gptcore.model.gpt import GPT
from gptcore.model.lora import adapt, trained
from gptcore.model.lora_config import LoraConfig
from gptcore.tokens.make_tokenizer import byte_tokenizer
from gptcore.training.checkpoint import Progressed
from gptcore.training.results import write_results
from tests.support.weights import random_model

ROWS: list[dict[str, Any]] = [{"step": 1, "val_loss": 1.0, "seconds": 1.0}]


def lora_config(**changes: Any) -> LoraConfig:
    values = {"rank": 4, "alpha": 6.0, "dropout": 0.0, "targets": ("q", "v", "proj", "mlp"), "base": "float32"}
    return LoraConfig(**{**values, "learning_rate": 1e-2, **changes})


def adapted(model: GPT, lora: LoraConfig) -> GPT:
    """`model` with an adapter that is not zero."""
    adapt(model, lora, seed=1)
    generator = torch.Generator().manual_seed(2)
    for each in trained(model).values():
        each.data.normal_(0.0, 0.1, generator=generator)
    return model


def exported(folder: Path, architecture: dict[str, object], lora: LoraConfig) -> GPT:
    """A base in folder/base; what a training of its adapter writes, in folder/model. Returns the adapted model."""
    model = random_model(architecture)
    save_export(folder / "base", model, byte_tokenizer())
    sha256 = weights_sha256(dict(model.named_parameters()))
    adapted(model, lora)
    best = {name: each / 2 for name, each in trained(model).items()}
    progressed = Progressed(step=1, seconds=1.0, loss_sum=0.0, rows=ROWS, samples=[])
    write_results(folder / "model", model, best, byte_tokenizer(), progressed, lora, sha256)
    return model
