"""LayerNorm as in GPT-2, and RMSNorm without parameters."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gptcore.model.config import ModelConfig


def normalize(x: Tensor) -> Tensor:
    """RMSNorm without parameters over the last dimension; float32 out (Zhang & Sennrich 2019)."""
    if x.device.type == "cpu":
        normalized: Tensor = _Normalize.apply(x)  # type: ignore[no-untyped-call]
        return normalized
    return F.rms_norm(x.float(), (x.size(-1),))


class _Normalize(torch.autograd.Function):
    """RMSNorm in four passes and its gradient in four: torch has no fused CPU kernel and needs twice as many."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).square_()
        scale = square.div_(x.size(-1)).add_(torch.finfo(torch.float32).eps).sqrt_()
        y: Tensor = x / scale
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        y, scale = ctx.saved_tensors
        along = (gradients[0] * y).mean(-1, keepdim=True)
        return torch.addcmul(gradients[0], y, along, value=-1).div_(scale)


class Norm(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.weight: nn.Parameter | None = None
        self.bias: nn.Parameter | None = None
        if config.norm == "layernorm":
            self.weight = nn.Parameter(torch.ones(config.n_embd))
            self.bias = nn.Parameter(torch.zeros(config.n_embd)) if config.bias else None

    def forward(self, x: Tensor) -> Tensor:
        if self.weight is None:
            return normalize(x)
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)
