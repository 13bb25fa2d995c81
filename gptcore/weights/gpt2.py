"""Plain GPT-2: the architecture that Hugging Face and nanoGPT files can express, and building the model from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from gptcore.errors import UserError
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT

# GPT-2 as a ModelConfig; the file provides sizes, bias, dropout, activation and tied_head
PLAIN: dict[str, Any] = {
    "norm": "layernorm", "position": "learned", "qk_norm": False, "attention_scale": 0.0, "embedding_norm": False,
    "residual_scalars": False, "value_embeddings": False, "bigram_buckets": 0, "logit_softcap": 0.0,
    "sliding_window": 0,
}  # fmt: skip
# these do not change what a model with given weights computes
UNUSED: dict[str, Any] = {"rope_base": 10000.0, "zero_init": False, "activation_checkpointing": False}
MASKS = (".attn.bias", ".attn.masked_bias")  # constant buffers in files of old versions


@dataclass(frozen=True)
class Weights:
    """The contents of a file: the architecture, and the tensors under gptcore's names."""

    config: ModelConfig
    vocab_size: Any  # from the file, unchecked
    tensors: dict[str, Tensor]

    def model(self, source: Path) -> GPT:
        """Build the model in float32. Raises UserError that names a missing, unknown or misshapen tensor."""
        if not isinstance(self.vocab_size, int) or self.vocab_size < 1:
            raise UserError(f"{source}: vocab_size is {self.vocab_size!r}, not a number of ids")
        with torch.device("meta"):  # no memory or time spent on weights that are replaced next
            model = GPT(self.config, self.vocab_size)
        wanted = {name: each.shape for name, each in model.state_dict().items()}
        tensors = dict(self.tensors)
        if self.config.tied_head:
            del wanted["lm_head.weight"]
            tensors.pop("lm_head.weight", None)
        for name in sorted(wanted.keys() | tensors.keys()):
            if name not in tensors or name not in wanted:
                fault = "missing" if name in wanted else "unknown"
                raise UserError(f"{source}: the weights are not a GPT-2's of that size: {name} is {fault}")
            if tensors[name].shape != wanted[name]:
                raise UserError(
                    f"{source}: {name} has the shape {_shape(tensors[name].shape)}, "
                    f"but a GPT-2 of that size has {_shape(wanted[name])}"
                )
        model.load_state_dict({name: each.float() for name, each in tensors.items()}, strict=False, assign=True)
        if self.config.tied_head:
            model.lm_head.weight = model.wte.weight
        return model.eval()


def plain_config(source: Path, **values: Any) -> ModelConfig:
    """The configuration of GPT-2 with `values`. Raises UserError that names the first invalid value."""
    try:
        return ModelConfig(**PLAIN, **UNUSED, **values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{source}: {field + ': ' * bool(field)}{message[0].lower()}{message[1:]}") from None


def refuse_unless(config: ModelConfig, form: str, **allowed: list[Any]) -> None:
    """Raises UserError listing every field of `config` that `form` cannot express; `allowed` extends PLAIN."""
    known = {name: [value] for name, value in PLAIN.items()} | allowed
    wrong = [f"{name}={getattr(config, name)}" for name in known if getattr(config, name) not in known[name]]
    if wrong:
        raise UserError(f"{form} has no words for {', '.join(wrong)}; it can express GPT-2's own architecture only")


def _shape(size: torch.Size) -> str:
    return " x ".join(map(str, size))
