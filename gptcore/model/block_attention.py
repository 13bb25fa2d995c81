"""Causal attention on a CPU, one block of queries at a time, which skips the keys that the block cannot see.

The backward pass computes the scores again: they, not the activations around them, would be most of a step's memory
(Rabe & Staats 2021, Dao et al. 2022). Torch's own CPU kernel does that too, but only in float32 and without dropout,
and it reads what a window hides.

Shapes: B batch, T time, H n_head, D head_dim, N = B * H.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from gptcore.model.dropout import kept, kept_share

QUERY_BLOCK = 128  # shorter blocks skip more masked keys, longer ones multiply faster


def attend_in_blocks(
    q: Tensor, k: Tensor, v: Tensor, rate: float, scale: float, window: int, dtype: torch.dtype
) -> Tensor:
    """Attention of q, k, v (B, H, T, D), with matrix products in `dtype`. Supports first gradients only."""
    y: Tensor = _BlockAttention.apply(q, k, v, rate, scale, window, dtype)  # type: ignore[no-untyped-call]
    return y


def keeps_scores(T: int) -> bool:
    """Whether the scores of T positions are stored all the same: those of one block are no larger than its inputs."""
    return T <= QUERY_BLOCK


class _BlockAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, rate: float, scale: float, window: int, dtype: torch.dtype
    ) -> Tensor:
        ctx.shape, ctx.dtype, ctx.rate, ctx.scale, ctx.window = q.shape, q.dtype, rate, scale, window
        q, k, v = _packed(q, dtype), _packed(k, dtype), _packed(v, dtype)
        y, masks, p = torch.empty_like(q), [], None
        for queries, keys, bias in _blocks(q.size(1), window, q):
            p = weights = _probabilities(q[:, queries], k[:, keys], bias, scale)
            if rate:
                masks.append(kept(p.shape, rate))
                weights = p * masks[-1]
            y[:, queries] = torch.bmm(weights, v[:, keys])
        ctx.save_for_backward(p if keeps_scores(q.size(1)) else None, q, k, v, *masks)
        return (y.mul_(1 / kept_share(rate)) if rate else y).view(ctx.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        only_p, q, k, v, *masks = ctx.saved_tensors
        y_grad = _packed(gradients[0], q.dtype)
        q_grad, k_grad, v_grad = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for number, (queries, keys, bias) in enumerate(_blocks(q.size(1), ctx.window, q)):
            p = only_p if only_p is not None else _probabilities(q[:, queries], k[:, keys], bias, ctx.scale)
            p_grad = torch.bmm(y_grad[:, queries], v[:, keys].mT)
            if masks:
                p_grad.mul_(masks[number])
            scores_grad = torch._softmax_backward_data(p_grad, p, -1, p.dtype)
            if masks:
                p = p * masks[number]
            v_grad[:, keys].baddbmm_(p.mT, y_grad[:, queries])
            q_grad[:, queries] = torch.bmm(scores_grad, k[:, keys])
            k_grad[:, keys].baddbmm_(scores_grad.mT, q[:, queries])
        v_factor = 1 / kept_share(ctx.rate)
        factors = (ctx.scale * v_factor, ctx.scale * v_factor, v_factor)
        found = zip((q_grad, k_grad, v_grad), factors, strict=True)
        return *(each.mul_(factor).to(ctx.dtype).view(ctx.shape) for each, factor in found), None, None, None, None


def _packed(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x (B, H, T, D) as (N, T, D)."""
    return x.to(dtype, memory_format=torch.contiguous_format).flatten(0, 1)


def _probabilities(q: Tensor, k: Tensor, bias: Tensor, scale: float) -> Tensor:
    scores = torch.baddbmm(bias, q, k.mT, alpha=scale)
    return torch.softmax(scores, -1, out=scores)


def _blocks(T: int, window: int, like: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    """Each block of queries, the keys that any of them sees, and what is added to their scores."""
    before = (T - 1) // QUERY_BLOCK * QUERY_BLOCK  # keys before the last block
    before = min(before, window - 1) if window else before
    # one bias for all blocks: its last columns for one with fewer earlier keys, its first rows for a shorter one
    bias = causal_bias(min(QUERY_BLOCK, T), before, window, like.dtype, like.device)
    for first in range(0, T, QUERY_BLOCK):
        last = min(first + QUERY_BLOCK, T)
        start = max(first - before, 0)
        columns = slice(before - (first - start), before + last - first)
        yield slice(first, last), slice(start, last), bias[: last - first, columns]


def causal_bias(queries: int, before: int, window: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The additive mask for consecutive queries against `before` earlier keys and their own: -inf hides a key.

    It is built anew in every pass. A tensor kept from one pass for the next may be an inference tensor, of which no
    backward pass can make use.
    """
    hidden = torch.full((queries, before + queries), -math.inf, dtype=dtype, device=device)
    bias = hidden.triu(before + 1)
    return bias + hidden.tril(before - window) if window else bias
