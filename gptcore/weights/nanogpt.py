"""Read and write nanoGPT's ckpt.pt.

It is a dict written by torch.save: `model_args` holds the sizes, `model` the weights, under GPT-2's names with the
prefix `transformer.`. It is loaded with weights_only=True: tensors, numbers and strings, never code.
"""

import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from gptcore.errors import UserError
from gptcore.files import atomic_path
from gptcore.model.gpt import GPT
from gptcore.weights.gpt2 import MASKS, Weights, plain_config, refuse_unless


def read_nanogpt(path: Path) -> Weights:
    """Read a ckpt.pt. Raises UserError when it is not one, contains code, or is incomplete."""
    checkpoint = _load(path)
    try:
        sizes, given = checkpoint["model_args"], checkpoint["model"]
        names = {name: name.removeprefix("_orig_mod.").removeprefix("transformer.") for name in given}
        tensors = {names[name]: each for name, each in given.items() if not name.endswith(MASKS)}
        head = tensors.get("lm_head.weight", tensors["wte.weight"])
        config = plain_config(
            path,
            **{name: sizes[name] for name in ("n_layer", "n_head", "n_embd", "block_size")},
            bias=sizes.get("bias", True),  # early versions always had biases
            dropout=float(sizes.get("dropout", 0.0)),
            activation="gelu",
            tied_head=torch.equal(head, tensors["wte.weight"]),
        )
        return Weights(config, sizes["vocab_size"], tensors)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path} is no nanoGPT checkpoint: {what}") from None


def write_nanogpt(path: Path, model: GPT) -> None:
    """Write a ckpt.pt that nanoGPT's sample.py loads: `model` and `model_args`, only tensors and numbers.

    Raises UserError unless nanoGPT can express `model`.
    """
    refuse_unless(model.config, "nanoGPT", activation=["gelu"], tied_head=[True])
    names = ("n_layer", "n_head", "n_embd", "block_size", "bias", "dropout")
    sizes = {**model.config.model_dump(include=set(names)), "vocab_size": model.vocab_size}
    weights = {
        name if name.startswith("lm_head") else f"transformer.{name}": each.detach().cpu()
        for name, each in model.state_dict().items()
    }
    with atomic_path(path) as temporary:
        torch.save({"model": weights, "model_args": sizes}, temporary)


def _load(path: Path) -> dict[str, Any]:
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is not a file that torch.save wrote, or it is cut off")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise UserError(
            f"{path} holds Python objects beside tensors, numbers and strings; they could run code and are refused"
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(checkpoint, dict):
        raise UserError(f"{path} is no nanoGPT checkpoint: it holds a {type(checkpoint).__name__}, not a dict")
    return checkpoint
