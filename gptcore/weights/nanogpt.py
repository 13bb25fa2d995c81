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
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.weights.gpt2 import Weights, our_names, plain_config, refuse_unless

SIZES = ("n_layer", "n_head", "n_embd", "block_size", "bias", "dropout")
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how files began before torch 1.6 made them zip files
CODE = ("GLOBAL", "new object", "reduce", "BUILD")  # what torch says of a pickle that wants more than data


def read_nanogpt(path: Path) -> Weights:
    """Read a ckpt.pt. Raises UserError when it is not one, contains code, or is incomplete."""
    checkpoint = _load(path)
    try:
        sizes, tensors = checkpoint["model_args"], our_names(path, checkpoint["model"])
        if unknown := sorted(sizes.keys() - {*SIZES, "vocab_size"}):
            raise UserError(f"{path}: nanoGPT's own model has no {', '.join(unknown)} in its model_args")
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


def refuse_nanogpt(config: ModelConfig) -> None:
    """Raises UserError unless nanoGPT can express the architecture."""
    refuse_unless(config, "nanoGPT", activation=["gelu"], tied_head=[True])


def write_nanogpt(path: Path, model: GPT) -> None:
    """Write a ckpt.pt that nanoGPT's sample.py loads: `model` and `model_args`, only tensors and numbers.

    Raises UserError unless nanoGPT can express `model`.
    """
    refuse_nanogpt(model.config)
    sizes = {**model.config.model_dump(include=set(SIZES)), "vocab_size": model.vocab_size}
    weights = {
        name if name.startswith("lm_head") else f"transformer.{name}": each.detach().cpu()
        for name, each in model.state_dict().items()
    }
    with atomic_path(path) as temporary:
        torch.save({"model": weights, "model_args": sizes}, temporary)


def _load(path: Path) -> dict[str, Any]:
    if zipfile.is_zipfile(path):
        _verify_checksums(path)
    else:
        with path.open("rb") as file:
            if file.read(len(LEGACY)) != LEGACY:
                raise UserError(f"{path} is not a file that torch.save wrote, or it is cut off")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        message = str(error)
        if isinstance(error, UnpicklingError) and any(word in message for word in CODE):
            raise UserError(
                f"{path} holds Python objects beside tensors, numbers and strings; they could run code and are refused"
            ) from None
        reason = message.splitlines()[0] if message and "weights_only" not in message else type(error).__name__
        raise UserError(f"{path} cannot be read, it is damaged or cut off: {reason}") from None
    if not isinstance(checkpoint, dict):
        raise UserError(f"{path} is no nanoGPT checkpoint: it holds a {type(checkpoint).__name__}, not a dict")
    return checkpoint


def _verify_checksums(path: Path) -> None:
    """torch.load does not look at the checksums of its zip files."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"{path} cannot be read, it is damaged or cut off: {error}") from None
    if damaged:
        raise UserError(f"{path} is damaged: the checksum of {damaged} is another than the file says; fetch it anew")
