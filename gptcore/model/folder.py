"""The model folder: model.safetensors, config.json, tokenizer.json. No pickle.

It also holds SHA256SUMS: caches and remotes do not check the files they pass on, so loading a model verifies each byte.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from gptcore.errors import UserError
from gptcore.files import SUMS, atomic_path, read_json, sha256sums, verify_sums, write_json
from gptcore.model.config import ModelConfig
from gptcore.model.fill import fill
from gptcore.model.gpt import GPT
from gptcore.model.int8 import unpacked
from gptcore.tokens.tokenizer import Tokenizer


def save_export(
    folder: Path, model: GPT, tokenizer: Tokenizer, weights: dict[str, Tensor] | None = None,
    beside: Callable[[Path], None] | None = None,
) -> None:  # fmt: skip
    """Write everything needed to run the model, deterministically; `weights`, if given, replace the model's own.

    `weights` use the model's parameter names; a tied head is stored once. `beside` writes more files into the folder.
    """
    with atomic_path(folder) as temporary:
        temporary.mkdir(parents=True)
        named = dict(model.named_parameters()) if weights is None else weights
        save_file(_stored(named), temporary / "model.safetensors")
        write_json(temporary / "config.json", {"vocab_size": model.vocab_size, **model.config.model_dump()})
        tokenizer.save(temporary / "tokenizer.json")
        if beside:
            beside(temporary)
        (temporary / SUMS).write_text(sha256sums(temporary), encoding="utf-8")


def load_export(folder: Path, device: torch.device | str = "cpu") -> tuple[GPT, Tokenizer]:
    """Load the model, in evaluation mode, and its tokenizer. Raises UserError when it is missing or damaged."""
    try:
        verify_sums(folder)
        values = read_json(folder / "config.json")
        vocab_size = values.pop("vocab_size")
        file = folder / "model.safetensors"
        model = fill(GPT(ModelConfig(**values), vocab_size, seed=None), unpacked(load_file(file)), file)
        tokenizer = Tokenizer.load(folder / "tokenizer.json")
        if tokenizer.n_vocab != vocab_size:
            raise ValueError(f"its model has {vocab_size:,} ids and its tokenizer {tokenizer.n_vocab:,}")
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{folder} holds no model that can be read: {error}") from None
    return model.to(device), tokenizer


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """The sha256 of the model.safetensors that `save_export` makes of `weights`."""
    return hashlib.sha256(save(_stored(weights))).hexdigest()


def _stored(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: each.detach().cpu().contiguous() for name, each in weights.items()}
