"""Attention of one query in each row over the row's cache, in Triton.

Torch's kernels are made for rows of many queries: for one, over 150 keys, they took three times as long on an H200,
which was half of a step. Softmax is as in FlashAttention (Dao et al. 2022), over blocks of keys. A program computes one
head of one row and reads the keys of that row alone, so that the result does not depend on the other rows, nor on how
long they are.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

KEYS = 64  # in a block


def attend(queries: Tensor, keys: Tensor, values: Tensor, positions: Tensor, scale: float, window: int) -> Tensor:
    """`queries` (A, H, 1, D), `keys` and `values` (A, H, P, D), `positions` (A,) to (A, H D), all in float32.

    The query of a row sees the keys up to its position, at most the last `window` of them if that is not 0.
    """
    A, H, _, D = queries.shape
    output = torch.empty(A, H * D, device=queries.device)
    _attend[A, H](
        queries, keys, values, positions, output, scale, window, queries.stride(0), keys.stride(0), keys.stride(1),
        H, D, triton.next_power_of_2(D), KEYS,
    )  # fmt: skip
    return output


@triton.jit  # type: ignore[untyped-decorator]
def _attend(
    queries: tl.tensor, keys: tl.tensor, values: tl.tensor, positions: tl.tensor, output: tl.tensor, scale: float,
    window: int, query_row: int, row: int, head_row: int,
    H: tl.constexpr, D: tl.constexpr, WIDTH: tl.constexpr, KEYS: tl.constexpr,
) -> None:  # fmt: skip
    at, head = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    last = tl.load(positions + at)
    first = last * 0
    if window > 0:
        first = tl.maximum(last + 1 - window, 0)
    d = tl.arange(0, WIDTH)
    q = tl.load(queries + at * query_row + head * D + d, mask=d < D, other=0.0) * scale
    begin = at * row + head * head_row
    highest = tl.full([], float("-inf"), tl.float32)
    total = tl.full([], 0.0, tl.float32)
    y = tl.zeros([WIDTH], tl.float32)
    for block in range(first // KEYS * KEYS, last + 1, KEYS):
        place = block + tl.arange(0, KEYS)
        seen = (place >= first) & (place <= last)
        there = seen[:, None] & (d[None, :] < D)
        each = begin + place[:, None] * D + d[None, :]
        scores = tl.sum(tl.load(keys + each, mask=there, other=0.0) * q[None, :], 1)
        scores = tl.where(seen, scores, float("-inf"))
        above = tl.maximum(highest, tl.max(scores, 0))
        shrink, p = tl.exp(highest - above), tl.exp(scores - above)
        highest = above
        total = total * shrink + tl.sum(p, 0)
        y = y * shrink + tl.sum(tl.load(values + each, mask=there, other=0.0) * p[:, None], 0)
    tl.store(output + at * H * D + head * D + d, y / total, mask=d < D)
