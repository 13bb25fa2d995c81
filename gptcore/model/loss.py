"""Cross-entropy of a linear head without storing all logits: computes loss and gradients chunk by chunk.

With a vocabulary of 50,304 the logits, their softmax and its gradient are several times as large as the whole model.
Each chunk's gradient needs only that chunk's logits, so the forward pass computes the gradients too, and keeps nothing
else for the backward pass (Wijmans et al. 2024, Cut Your Losses; Hsu et al. 2024, Liger Kernel). Between the matrix
products of a chunk, a `Kernel` turns its logits into losses and gradients: `in_slices` for eager code, and
`in_one_kernel` for torch.compile.

Shapes: N positions (batch times time), C n_embd, V vocab_size.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# Logits per chunk: few enough to save memory, enough that the weight gradient is rarely summed over chunks
CHUNK_ELEMENTS = {"cuda": 1 << 28}
# A GPU's matrix products work on tiles of so many rows
CHUNK_ROWS_MULTIPLE = {"cuda": 128}
# Logits converted to float32 at once: on a CPU they stay in the cache between passes
SLICE_ELEMENTS = {"cpu": 1 << 20}
# A GPU multiplies matrices of 50,257 columns at half its speed: the vocabulary is padded to a multiple of this
VOCABULARY_MULTIPLE = {"cuda": 64}

# (logits (n, V or more), V, targets, softcap, losses, with_gradient): fills `losses` (n,) in nats; overwrites `logits`
# with the gradient of the summed losses, if that is asked for. Columns from V on are padding, of gradient 0.
Kernel = Callable[[Tensor, int, Tensor, float, Tensor, bool], None]


def in_slices(logits: Tensor, v: int, targets: Tensor, softcap: float, losses: Tensor, with_gradient: bool) -> None:
    """A `Kernel` of eager operations, most of them in place, on as many logits at once as stay in a CPU's cache."""
    rows = max(SLICE_ELEMENTS.get(logits.device.type, logits.numel()) // logits.size(1), 1)
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


def in_one_kernel(logits: Tensor, v: int, targets: Tensor, softcap: float, losses: Tensor, with_gradient: bool) -> None:
    """A `Kernel` to compile: it then reads the logits twice and writes them once, where eager operations take ten times
    as many passes in float32. The order of its operations is the one that torch's compiler knows as a softmax.
    """
    z = logits.float()
    tanh = _tanh(z / softcap) if softcap else z
    capped = softcap * tanh if softcap else z
    columns = torch.arange(logits.size(1), device=logits.device)
    if logits.size(1) > v:
        capped = torch.where(columns < v, capped, -torch.inf)
    largest = capped.amax(-1, keepdim=True)
    log_sum = largest + (capped - largest).exp().sum(-1, keepdim=True).log()
    z_target = logits.gather(1, targets[:, None]).float()
    losses.copy_((log_sum - (softcap * _tanh(z_target / softcap) if softcap else z_target)).squeeze(1))
    if with_gradient:
        gradient = (capped - log_sum).exp() - (columns == targets[:, None]).float()
        if softcap:
            gradient = gradient * (1 - tanh * tanh)
        logits.copy_(gradient)


def _tanh(x: Tensor) -> Tensor:
    """Exact to 1e-7 of the largest value, by an exponential that a GPU has in hardware."""
    return 1 - 2 / ((2 * x).exp() + 1)


def linear_cross_entropy(
    x: Tensor, weight: Tensor, targets: Tensor, softcap: float, kernel: Kernel = in_slices, counts_all: bool = True
) -> Tensor:
    """Mean loss in nats of logits = x @ weight.T, capped to c*tanh(logits/c) if softcap c > 0.

    x (N, C), weight (V, C), targets (N,) int64. Unless `counts_all`, negative targets have no loss and no gradient, and
    the mean is over the others; it is 0 if there are none. Matrix products use autocast's dtype where it is enabled.
    Supports first gradients of x and weight, but not second ones.
    """
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    with_gradient = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    loss: Tensor = _LinearCrossEntropy.apply(x, weight, targets, softcap, dtype, with_gradient, kernel, counts_all)  # type: ignore[no-untyped-call]
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, targets: Tensor, softcap: float, dtype: torch.dtype, with_gradient: bool,
        kernel: Kernel, counts_all: bool,
    ) -> Tensor:  # fmt: skip
        n, v, device = len(x), len(weight), x.device.type
        uncounted = None if counts_all else targets < 0
        targets = targets if counts_all else targets.clamp_min(0)
        with torch.autocast(device, enabled=False):
            x_low, weight_low = x.to(dtype), weight.to(dtype)
            if padding := -v % VOCABULARY_MULTIPLE.get(device, 1):
                weight_low = F.pad(weight_low, (0, 0, 0, padding))
            losses = torch.empty(n, dtype=torch.float32, device=x.device)
            x_grad = torch.empty_like(x_low) if with_gradient else None
            weight_grad: Tensor | None = None
            rows = _chunk_rows(n, len(weight_low), device)
            for first in range(0, n, rows):
                chunk = slice(first, first + rows)
                logits = x_low[chunk] @ weight_low.T
                kernel(logits, v, targets[chunk], softcap, losses[chunk], with_gradient)
                if uncounted is not None:
                    losses[chunk].masked_fill_(uncounted[chunk], 0)
                    logits.masked_fill_(uncounted[chunk, None], 0)
                if x_grad is not None:
                    torch.mm(logits, weight_low, out=x_grad[chunk])
                if with_gradient and ctx.needs_input_grad[1]:  # not of a frozen head
                    weight_grad = _plus_product(weight_grad, logits.T, x_low[chunk], weight.dtype)
        ctx.x_dtype = x.dtype
        count = None if uncounted is None else (n - uncounted.sum()).clamp_min(1)
        ctx.save_for_backward(x_grad, None if weight_grad is None else weight_grad[:v], count)
        return losses.mean() if count is None else losses.sum() / count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x_grad, weight_grad, count = ctx.saved_tensors
        # only here: before the scaler's factor, float16 would underflow
        gradient = gradients[0] / (len(x_grad) if count is None else count)
        weight_grad = None if weight_grad is None else weight_grad * gradient
        return x_grad.to(ctx.x_dtype) * gradient, weight_grad, None, None, None, None, None, None


def _chunk_rows(n: int, columns: int, device: str) -> int:
    """Rows per chunk of n rows: as even as possible, so that the last one is not much smaller."""
    most = max(CHUNK_ELEMENTS.get(device, 1 << 26) // columns, 1)
    multiple = CHUNK_ROWS_MULTIPLE.get(device, 1)
    even = -(-n // -(-n // most))
    return -(-even // multiple) * multiple


def _plus_product(total: Tensor | None, one: Tensor, other: Tensor, dtype: torch.dtype) -> Tensor:
    """total + one @ other in `dtype`. A GPU adds up low-precision products in float32 by itself, a CPU cannot."""
    if one.is_cuda and one.dtype != dtype:
        if total is None:
            return torch.mm(one, other, out_dtype=dtype)
        return torch.addmm(total, one, other, out_dtype=dtype, out=total)
    product = one @ other
    return product.to(dtype) if total is None else total.add_(product)
