"""Ranks: the processes that work on one model together. A single rank runs the same code and exchanges nothing.

In training, each rank takes its share of every batch; gradients are summed over ranks, so a step is the same for any
number of ranks, up to the order of float sums. In evaluation, each takes its share of the windows.
"""

import json
import os
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gptcore.errors import UserError


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def count() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this rank is rank 0, which prints, evaluates and writes."""
    return rank() == 0


def count_here() -> int:
    """Number of ranks on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_first_here() -> bool:
    """Whether this rank is the first on its machine."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def error_here(message: str) -> UserError:
    """An error of this rank alone. Prints it unless this is the rank whose errors the stage prints."""
    if not is_first_here():
        print(f"error: rank {rank()}: {message}", file=sys.stderr, flush=True)
    return UserError(message)


def largest_share(rows: int) -> int:
    """The largest number of rows any rank takes from a batch of `rows`."""
    return -(-rows // count())


def micro_batches(rows: int, largest: int) -> list[slice]:
    """This rank's rows of a batch of `rows`, split into micro-batches of at most `largest` rows.

    Slices are contiguous and as even as possible, over ranks and over micro-batches. Every rank gets the same number of
    micro-batches, so one may be empty.
    """
    mine, parts = share(rows), -(-largest_share(rows) // largest)
    bounds = [mine.start + (mine.stop - mine.start) * each // parts for each in range(parts + 1)]
    return [slice(*each) for each in pairwise(bounds)]


def share(n: int) -> slice:
    """This rank's part of `n` things in a row; the parts are as even as possible and in the order of ranks."""
    return slice(*(n * each // count() for each in (rank(), rank() + 1)))


def gathered(values: NDArray[Any]) -> NDArray[Any]:
    """The arrays (N,) of all ranks, one after the other; N may differ between ranks."""
    if count() == 1:
        return values
    lengths = total(torch.tensor([len(values) if each == rank() else 0 for each in range(count())])).tolist()
    mine = torch.zeros(max(lengths), dtype=torch.from_numpy(values).dtype)
    mine[: len(values)] = torch.from_numpy(values)
    found = [torch.empty_like(mine) for _ in lengths]
    dist.all_gather(found, mine)
    return np.concatenate([each[:length].numpy() for each, length in zip(found, lengths, strict=True)])


def total(values: Tensor) -> Tensor:
    """`values` summed over ranks, in place."""
    if count() > 1:
        dist.all_reduce(values)
    return values


def shared_out(work: Callable[[Tensor], Tensor], stack: Tensor) -> Tensor:
    """`work(stack)`, row by row of the first dimension: each rank does a share of the rows, and all get all results."""
    if count() == 1:
        return work(stack)
    share = -(-len(stack) // count())
    padded = F.pad(stack, (0, 0) * (stack.dim() - 1) + (0, share * count() - len(stack)))
    mine = work(padded[rank() * share : (rank() + 1) * share]).contiguous()
    found = [torch.empty_like(mine) for _ in range(count())]
    dist.all_gather(found, mine)
    return torch.cat(found)[: len(stack)]


def any_rank(*flags: bool) -> list[bool]:
    """For each flag, whether any rank sets it. Ranks use this to agree on when to save and when to stop."""
    if count() == 1:
        return list(flags)
    return [each > 0 for each in total(torch.tensor(flags, dtype=torch.int32)).tolist()]


def least(value: int) -> int:
    """The minimum of `value` over ranks."""
    found = torch.tensor(value)
    if count() > 1:
        dist.all_reduce(found, dist.ReduceOp.MIN)
    return int(found)


def wait_for_all() -> None:
    any_rank(True)


def from_first(value: Any) -> Any:
    """Broadcast the first rank's `value`, a JSON value, to every rank."""
    if count() == 1:
        return value
    text = json.dumps(value).encode() if is_first() else b""
    data = torch.zeros(int(total(torch.tensor(len(text)))), dtype=torch.uint8)
    if is_first():
        data.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
    dist.broadcast(data, 0)
    return json.loads(bytes(data.tolist()))


def tensors_from_first(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Broadcast the first rank's `tensors`, all on CPU, to every rank."""
    layout = from_first([(name, list(each.shape), str(each.dtype)) for name, each in tensors.items()])
    found = {}
    for name, shape, dtype in layout:
        found[name] = tensors[name] if is_first() else torch.empty(shape, dtype=getattr(torch, dtype[6:]))
        if count() > 1:
            dist.broadcast(found[name], 0)
    return found
