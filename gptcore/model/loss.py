"""Cross-entropy of a linear head without storing all logits: computes loss and gradients chunk by chunk.

With a vocabulary of 50,304 the logits, their softmax and its gradient are several times as large as the whole model.
Each chunk's gradient needs only that chunk's logits, so the forward pass computes the gradients too, and keeps nothing
else for the backward pass (Wijmans et al. 2024, Cut Your Losses; Hsu et al. 2024, Liger Kernel).

Shapes: N positions (batch times time), C n_embd, V vocab_size.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# Logits per chunk: few enough to save memory, enough that the weight gradient is rarely summed over chunks
CHUNK_ELEMENTS = 1 << 26
# Logits converted to float32 at once: on a CPU they stay in the cache between passes
SLICE_ELEMENTS = {"cpu": 1 << 20}
# A GPU multiplies matrices of 50,257 columns at half its speed: the vocabulary is padded to a multiple of this
VOCABULARY_MULTIPLE = {"cuda": 64}


def linear_cross_entropy(x: Tensor, weight: Tensor, targets: Tensor, softcap: float) -> Tensor:
    """Mean loss in nats of logits = x @ weight.T, capped to c*tanh(logits/c) if softcap c > 0.

    x (N, C), weight (V, C), targets (N,) int64. Matrix products use autocast's dtype where it is enabled. Supports
    first gradients of x and weight, but not second ones.
    """
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    with_gradient = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    loss: Tensor = _LinearCrossEntropy.apply(x, weight, targets, softcap, dtype, with_gradient)  # type: ignore[no-untyped-call]
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, targets: Tensor, softcap: float, dtype: torch.dtype, with_gradient: bool
    ) -> Tensor:
        n, v = len(x), len(weight)
        with torch.autocast(x.device.type, enabled=False):
            padding = -v % VOCABULARY_MULTIPLE.get(x.device.type, 1)
            x_low, weight_low = x.to(dtype), weight.to(dtype)
            if padding:
                weight_low = F.pad(weight_low, (0, 0, 0, padding))
            losses = torch.empty(n, dtype=torch.float32, device=x.device)
            x_grad = torch.empty_like(x_low) if with_gradient else None
            weight_grad: Tensor | None = None
            rows = max(CHUNK_ELEMENTS // len(weight_low), 1)
            for first in range(0, n, rows):
                chunk = slice(first, first + rows)
                logits = x_low[chunk] @ weight_low.T
                _softmax_minus_target(logits, v, targets[chunk], softcap, losses[chunk], with_gradient)
                if x_grad is not None:
                    torch.mm(logits, weight_low, out=x_grad[chunk])
                    part = (logits.T @ x_low[chunk])[:v]
                    weight_grad = part.to(weight.dtype) if weight_grad is None else weight_grad.add_(part)
        ctx.x_dtype = x.dtype
        ctx.save_for_backward(x_grad, weight_grad)
        return losses.mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x_grad, weight_grad = ctx.saved_tensors
        gradient = gradients[0] / len(x_grad)  # only here: before the scaler's factor, float16 would underflow
        return x_grad.to(ctx.x_dtype) * gradient, weight_grad * gradient, None, None, None, None


def _softmax_minus_target(
    logits: Tensor, v: int, targets: Tensor, softcap: float, losses: Tensor, with_gradient: bool
) -> None:
    """Fill `losses`; overwrite `logits` with the gradient of the summed losses. Ids from `v` on are padding."""
    rows = max(SLICE_ELEMENTS.get(logits.device.type, CHUNK_ELEMENTS) // logits.size(1), 1)
    for z, target, loss in zip(logits.split(rows), targets.split(rows), losses.split(rows), strict=True):
        z_target, loss = target[:, None], loss[:, None]
        p = z.float()
        if softcap:
            tanh = (p * (2 / softcap)).sigmoid_().mul_(2).sub_(1)  # torch's own tanh takes twice as long
            torch.mul(tanh, softcap, out=p)
        p[:, v:] = -torch.inf
        torch.softmax(p, -1, out=p)
        # float32's smallest number limits the loss to 87 nats; the gradient is still exact
        torch.neg(p.gather(1, z_target).clamp_min_(torch.finfo(torch.float32).tiny).log_(), out=loss)
        if with_gradient:
            p.scatter_add_(1, z_target, torch.full_like(loss, -1.0))
            if softcap:
                p.addcmul_(p, tanh.square_(), value=-1)  # 1 - tanh^2
            z.copy_(p)
