"""Cross-entropy of a linear head without the logits: chunk by chunk, gradients made while a chunk is at hand.

With a vocabulary of 50,304 the logits, their softmax and its gradient outweigh the whole model several times over. The
gradient needs no more than one chunk's, so loss and gradients are made in one go and nothing is kept for the backward
pass but the gradients themselves (Wijmans et al. 2024, Cut Your Losses; Hsu et al. 2024, Liger Kernel).

Shapes: N positions (batch times time), C n_embd, V vocab_size.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# Logits at hand at once: few enough to stay small, many enough that summing the weights' gradient over chunks is rare
CHUNK_ELEMENTS = 1 << 26
# Of those, what is float32 at once: on a CPU it stays in the cache between the passes over it
SLICE_ELEMENTS = {"cpu": 1 << 20, "cuda": CHUNK_ELEMENTS}
# A GPU multiplies matrices of 50,257 columns at half its speed: the vocabulary is filled up to a multiple of this
VOCABULARY_MULTIPLE = {"cpu": 1, "cuda": 64}


def linear_cross_entropy(x: Tensor, weight: Tensor, targets: Tensor, softcap: float) -> Tensor:
    """Mean loss in nats of logits = x @ weight.T, capped to c*tanh(logits/c) where softcap c > 0.

    x (N, C), weight (V, C), targets (N,) int64. Matrix products are in autocast's type where it is on. The gradients of
    x and weight, but not second ones, are right.
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
            padding = -v % VOCABULARY_MULTIPLE[x.device.type]
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
        gradient = gradients[0] / len(x_grad)  # only now: float16 would lose so small numbers before a scaler's factor
        return x_grad.to(ctx.x_dtype) * gradient, weight_grad * gradient, None, None, None, None


def _softmax_minus_target(
    logits: Tensor, v: int, targets: Tensor, softcap: float, losses: Tensor, with_gradient: bool
) -> None:
    """Fill `losses`; overwrite `logits` with the gradient of the losses' sum. Ids from `v` on are padding."""
    rows = max(SLICE_ELEMENTS[logits.device.type] // logits.size(1), 1)
    for z, target, loss in zip(logits.split(rows), targets.split(rows), losses.split(rows), strict=True):
        z_target, loss = target[:, None], loss[:, None]
        p = z.float()
        if softcap:
            tanh = (p * (2 / softcap)).sigmoid_().mul_(2).sub_(1)  # torch's own tanh takes twice as long
            torch.mul(tanh, softcap, out=p)
        p[:, v:] = -torch.inf
        torch.softmax(p, -1, out=p)
        # at float32's smallest the loss ends at 87 nats; its gradient is exact all the same
        torch.neg(p.gather(1, z_target).clamp_min_(torch.finfo(torch.float32).tiny).log_(), out=loss)
        if with_gradient:
            p.scatter_add_(1, z_target, torch.full_like(loss, -1.0))
            if softcap:
                p.addcmul_(p, tanh.square_(), value=-1)  # 1 - tanh^2
            z.copy_(p)
