"""Put tensors from a file into a model: all of them, each where it belongs, or one line that names what is wrong."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from gptcore.errors import UserError
from gptcore.model.gpt import GPT

HEAD = "lm_head.weight"


def fill(model: GPT, tensors: Mapping[str, Tensor], source: Path) -> GPT:
    """Load `tensors`, named as the model's parameters, as float32; return the model in evaluation mode.

    A tied head may be left out; if it is there, it must equal the embedding. Float32 tensors are taken over without a
    copy. Raises UserError that names the first tensor that is missing, unknown, misshapen,
    quantized or not finite.
    """
    wanted = {name: each.shape for name, each in model.state_dict().items()}
    tied = model.config.tied_head
    if tied and HEAD not in tensors:
        del wanted[HEAD]
    for name in sorted(wanted.keys() | tensors.keys()):
        if name not in tensors or name not in wanted:
            fault = "missing" if name in wanted else "unknown"
            raise UserError(f"{source}: the weights are not those of a GPT of that size: {name} is {fault}")
        _check(name, tensors[name], wanted[name], source)
    if tied and HEAD in tensors and not torch.equal(tensors[HEAD], tensors["wte.weight"]):
        raise UserError(
            f"{source}: {HEAD} differs from wte.weight, but the config says that the head is tied to it; "
            "if the head is right, set tie_word_embeddings to false in config.json"
        )
    given = {name: each.float() for name, each in tensors.items() if not (tied and name == HEAD)}
    model.load_state_dict(given, strict=False, assign=True)
    if tied:
        model.lm_head.weight = model.wte.weight
    return model.eval()


def _check(name: str, tensor: Tensor, shape: torch.Size, source: Path) -> None:
    if tensor.shape != shape:
        raise UserError(
            f"{source}: {name} has the shape {_shape(tensor.shape)}, but a GPT of that size has {_shape(shape)}"
        )
    if not tensor.is_floating_point():
        raise UserError(f"{source}: {name} holds {str(tensor.dtype).removeprefix('torch.')}; only floats can be read")
    if wrong := tensor.numel() - int(torch.isfinite(tensor).sum()):
        raise UserError(
            f"{source}: {name} holds NaN or infinity ({wrong:,} of {tensor.numel():,} values); "
            "the model is of no use, take an earlier checkpoint"
        )


def _shape(size: torch.Size) -> str:
    return " x ".join(map(str, size))
