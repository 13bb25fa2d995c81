"""NormalFloat: weights in four bits, in blocks of 64 with a scale each (Dettmers et al. 2023, QLoRA).

The sixteen levels hold equally many values of a normal distribution, which trained weights nearly have. Plain torch,
and so the same bits on every device; codes and scales are laid out as bitsandbytes has them.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gptcore.model.layers import Linear

BLOCK = 64  # weights that share a scale, a float32: 4.5 bits a weight in all
# of the paper's appendix E, which bitsandbytes has too
LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip


def quantized(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(codes, scales): two weights a byte, and each block's largest magnitude. Zeros fill the last block."""
    flat = weight.detach().float().flatten()
    blocks = F.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)
    scales = blocks.abs().amax(1)
    levels = torch.tensor(LEVELS, device=weight.device)
    nearest = torch.bucketize(blocks / scales.where(scales > 0, 1)[:, None], (levels[1:] + levels[:-1]) / 2)
    pairs = nearest.to(torch.uint8).view(-1, 2)
    return pairs[:, 0] * 16 + pairs[:, 1], scales


Kernel = Callable[..., Tensor]


def dequantized(codes: Tensor, scales: Tensor, shape: torch.Size, kernel: Kernel | None = None) -> Tensor:
    """The weights, float32; the same with `kernel`, which is bitsandbytes' own for GPUs."""
    if kernel:
        return kernel(codes[:, None], scales, BLOCK, "nf4", shape, torch.float32)
    levels = torch.tensor(LEVELS, device=codes.device)
    pairs = torch.cartesian_prod(levels, levels)  # of each byte: one look-up for two weights
    blocks = F.embedding(codes.int(), pairs).view(-1, BLOCK) * scales[:, None]
    return blocks.flatten()[: shape.numel()].view(shape)


def fast_kernel() -> Kernel | None:
    """None without a GPU, and where bitsandbytes is not installed (the extra `bitsandbytes`)."""
    return bitsandbytes_kernel() if torch.cuda.is_available() and find_spec("bitsandbytes") else None


def bitsandbytes_kernel() -> Kernel:
    import bitsandbytes  # noqa: F401  it registers its operators with torch

    return cast("Kernel", torch.ops.bitsandbytes.dequantize_4bit)


def rounded(weight: Tensor) -> Tensor:
    """What is left of `weight` after four bits."""
    return dequantized(*quantized(weight), weight.shape)


class NF4Linear(nn.Module):
    """A frozen linear layer. Its weight is made anew in each pass, as the backward pass would keep it."""

    codes: Tensor
    scales: Tensor

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        codes, scales = quantized(linear.weight)
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.bias, self.kernel = linear.bias, fast_kernel()

    @property
    def weight(self) -> Tensor:
        return dequantized(self.codes, self.scales, torch.Size((self.out_features, self.in_features)))

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel if x.is_cuda else None
        y: Tensor = _FrozenLinear.apply(x, self.codes, self.scales, self.out_features, self.bias, kernel)  # type: ignore[no-untyped-call]
        return y


class _FrozenLinear(torch.autograd.Function):
    """Keeps four bits of a weight for the backward pass instead of 32."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, codes: Tensor, scales: Tensor, out_features: int, bias: Tensor | None,
        kernel: Kernel | None,
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(codes, scales)
        ctx.shape, ctx.dtype, ctx.kernel = torch.Size((out_features, x.size(-1))), x.dtype, kernel
        return F.linear(x, dequantized(codes, scales, ctx.shape, kernel), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        codes, scales = ctx.saved_tensors
        weight = dequantized(codes, scales, ctx.shape, ctx.kernel).to(gradients[0].dtype)
        return (gradients[0] @ weight).to(ctx.dtype), None, None, None, None, None
