"""Plain GPT-2: the architecture that Hugging Face and nanoGPT files can express, and building the model from it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from gptcore.errors import UserError
from gptcore.model.config import ModelConfig
from gptcore.model.fill import fill
from gptcore.model.gpt import GPT

# GPT-2 as a ModelConfig; the file provides sizes, bias, dropout, activation and tied_head
PLAIN: dict[str, Any] = {
    "norm": "layernorm", "position": "learned", "qk_norm": False, "attention_scale": 0.0, "embedding_norm": False,
    "residual_scalars": False, "value_embeddings": False, "bigram_buckets": 0, "logit_softcap": 0.0,
    "sliding_window": 0,
}  # fmt: skip
# these do not change what a model with given weights computes
UNUSED: dict[str, Any] = {"rope_base": 10000.0, "zero_init": False, "activation_checkpointing": False}
# constant buffers in files of old versions: a triangle of ones, and the number that it puts in place of what it hides
MASK = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")
WRAPPER = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|module)\.")  # torch.compile's and DDP's, around all or a part


@dataclass(frozen=True)
class Weights:
    """The contents of a file: the architecture, and the tensors under gptcore's names."""

    config: ModelConfig
    vocab_size: Any  # from the file, unchecked
    tensors: dict[str, Tensor]

    def model(self, source: Path) -> GPT:
        """Build the model in float32. Raises UserError that names the first tensor that does not fit."""
        if not isinstance(self.vocab_size, int) or self.vocab_size < 1:
            raise UserError(f"{source}: vocab_size is {self.vocab_size!r}, not a number of ids")
        return fill(GPT(self.config, self.vocab_size, seed=None), self.tensors, source)


def our_names(source: Path, given: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a file under gptcore's names, without the causal masks that old versions saved.

    Raises UserError that names a mask that is not causal, what is no tensor, and two tensors for one weight.
    """
    tensors: dict[str, Tensor] = {}
    for theirs, each in given.items():
        if not isinstance(each, Tensor):
            raise UserError(f"{source}: {theirs} is a {type(each).__name__}, not a tensor")
        name = WRAPPER.sub("", theirs).removeprefix("transformer.")
        if MASK.fullmatch(name):
            if name.endswith(".bias") and not _is_causal(each):
                raise UserError(f"{source}: the attention mask {theirs} is not causal, as GPT-2's is")
        elif name in tensors:
            raise UserError(f"{source} holds {name} twice, once as {theirs}; keep the right one")
        else:
            tensors[name] = each
    return tensors


def plain_config(source: Path, **values: Any) -> ModelConfig:
    """The configuration of GPT-2 with `values`. Raises UserError that names the first invalid value."""
    try:
        return ModelConfig(**PLAIN, **UNUSED, **values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{source}: {field + ': ' * bool(field)}{message[0].lower()}{message[1:]}") from None


def beyond(config: ModelConfig, **allowed: list[Any]) -> list[str]:
    """Every field of `config` that is not GPT-2's, with its value; `allowed` extends PLAIN."""
    known = {name: [value] for name, value in PLAIN.items()} | allowed
    return [f"{name}={getattr(config, name)}" for name in known if getattr(config, name) not in known[name]]


def refuse_unless(config: ModelConfig, form: str, **allowed: list[Any]) -> None:
    """Raises UserError listing every field of `config` that `form` cannot express; `allowed` extends PLAIN."""
    if wrong := beyond(config, **allowed):
        raise UserError(f"{form} has no words for {', '.join(wrong)}; it can express GPT-2's own architecture only")


def _is_causal(mask: Tensor) -> bool:
    size = mask.size(-1) if mask.dim() else 0
    return mask.numel() == size * size and torch.equal(
        mask.view(size, size).bool(), torch.ones(size, size).bool().tril()
    )
