"""Weights in 8 bits with a scale for each output, for CPUs: a quarter of the memory.

Activations are not rounded to integers, so no row of a result depends on the others. Scales have 8 significant bits:
the product of a scale and 127 is exact in float32, and rounding rounded weights again changes nothing.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gptcore.errors import UserError
from gptcore.model.gpt import GPT

SCALES = ".scales"  # after a weight's name, in a file
LEVELS = 127
ROWS = 256  # of a weight that are float32 at once, which a cache holds


def rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Integers (N, K) and scales (N,) in bfloat16."""
    scales = (weight.abs().amax(1) / LEVELS).bfloat16()
    scales[scales == 0] = 1
    return (weight / scales.float()[:, None]).round().clamp(-LEVELS, LEVELS).to(torch.int8), scales


def packed(model: GPT) -> dict[str, Tensor]:
    """What a file holds of the model: integers under the names of its matrices and tables, with their scales."""
    tensors: dict[str, Tensor] = {}
    for name, each in model.named_parameters():
        if each.dim() < 2 or name == "wpe.weight":
            tensors[name] = each
        else:
            tensors[name], tensors[name + SCALES] = rounded(each.detach())
    return tensors


def unpacked(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those of a file in float32; any other file as it is."""
    scales = {name.removesuffix(SCALES): each for name, each in tensors.items() if name.endswith(SCALES)}
    return {
        name: each.float() * scales[name].float()[:, None] if name in scales else each
        for name, each in tensors.items()
        if not name.endswith(SCALES)
    }


class Int8Linear(nn.Module):
    """x @ weight.T + bias. Torch's kernel takes and gives bfloat16; the head, whose logits must not tie, is `exact`."""

    integers: Tensor
    scales: Tensor

    def __init__(self, integers: Tensor, scales: Tensor, bias: Tensor | None, exact: bool) -> None:
        super().__init__()
        self.register_buffer("integers", integers)
        self.register_buffer("scales", scales)
        self.bias, self.exact = bias, exact

    @property
    def weight(self) -> Tensor:
        return self.integers.float() * self.scales.float()[:, None]

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.size(-1))
        y = self._exact(rows) if self.exact else self._fast(rows)
        return (y if self.bias is None else y + self.bias).view(*x.shape[:-1], -1)

    def _fast(self, rows: Tensor) -> Tensor:
        y: Tensor = torch.ops.aten._weight_int8pack_mm(rows.bfloat16(), self.integers, self.scales)
        return y.float()

    def _exact(self, rows: Tensor) -> Tensor:
        y = rows.new_empty(len(rows), len(self.integers))
        for first in range(0, len(self.integers), ROWS):
            y[:, first : first + ROWS] = F.linear(rows, self.integers[first : first + ROWS].float())
        return y.mul_(self.scales.float())


class Int8Embedding(nn.Module):
    integers: Tensor
    scales: Tensor

    def __init__(self, integers: Tensor, scales: Tensor) -> None:
        super().__init__()
        self.register_buffer("integers", integers)
        self.register_buffer("scales", scales)

    @property
    def weight(self) -> Tensor:
        return self.integers.float() * self.scales.float()[:, None]

    def forward(self, ids: Tensor) -> Tensor:
        return self.integers[ids].float() * self.scales[ids].float().unsqueeze(-1)


def to_int8(model: GPT) -> GPT:
    """Replace the matrices and tables of `model` by rounded ones; it only infers then. A tied head stays one tensor.

    Raises UserError for a model that is not on a CPU.
    """
    if model.wte.weight.device.type != "cpu":
        raise UserError("weights in 8 bits are for CPUs; set GPTCORE_DEVICE=cpu, or leave them as they are")
    made: dict[int, tuple[Tensor, Tensor]] = {}
    for name, module in list(model.named_modules()):
        if name == "wpe" or not isinstance(module, nn.Linear | nn.Embedding):
            continue  # positions are few, and read as a whole
        weight = module.weight.detach()
        integers, scales = made.setdefault(id(module.weight), rounded(weight))
        kind: nn.Module
        if isinstance(module, nn.Linear):
            kind = Int8Linear(integers, scales, module.bias, exact=name == "lm_head")
        else:
            kind = Int8Embedding(integers, scales)
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, kind)
    return model.requires_grad_(False).eval()
