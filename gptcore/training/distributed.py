"""Ranks: the processes that train one model together. A single rank runs the same code and exchanges nothing.

Each rank takes its share of every batch; gradients are summed over ranks, so a step is the same for any number of
ranks, up to the order of float sums. `python -m gptcore.stages.train` starts its own ranks (launch.py); under torchrun,
which may span machines, it joins the existing process group.
"""

import atexit
import ctypes
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from gptcore.config.settings import settings
from gptcore.errors import LOST_EXIT_CODE, STOPPED_EXIT_CODE, UserError
from gptcore.training.launch import LAUNCHER, STOP_SIGNALS, launch

TIMEOUT = timedelta(hours=1)  # ranks wait while the first one evaluates; dead ranks are detected by other means
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def start_ranks(stage: str) -> None:
    """Join the process group as a rank, or launch the ranks and exit with their code. Does nothing for a single rank.

    Raises UserError for more ranks than devices.
    """
    device = settings().torch_device().type
    given = {"RANK", "WORLD_SIZE"} <= os.environ.keys()
    here = count_here() if given else settings().ranks
    devices, name = _devices(device)
    here = here or (devices if device == "cuda" else 1)
    if here > devices:
        raise UserError(
            f"{here} ranks are asked for and this machine has {devices} {name}; set GPTCORE_RANKS={devices}"
        )
    if given and int(os.environ["WORLD_SIZE"]) > 1:
        if device == "mps":
            raise UserError(
                "GPTCORE_DEVICE=mps trains with one rank: ranks cannot exchange the tensors of Apple's GPUs"
            )
        _join(stage, device)
    elif not given and here > 1:
        raise SystemExit(launch(stage, here))


def _devices(kind: str) -> tuple[int, str]:
    """How many devices of this kind the machine has, and what to call them."""
    if kind == "cuda":
        return torch.cuda.device_count(), "GPUs"
    return (1, "GPU") if kind == "mps" else (os.cpu_count() or 1, "processors")


def _join(stage: str, device: str) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        if os.environ["RANK"] == "0":
            print(f"{stage}: stopped before the first step; run it again", file=sys.stderr, flush=True)
        os._exit(STOPPED_EXIT_CODE)

    def explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        lost = isinstance(error, dist.DistError) or "gloo/transport" in str(error)
        if not lost:
            traceback.print_exception(error, file=sys.__stderr__)  # torch redirects sys.stderr until this returns
        elif LAUNCHER not in os.environ:  # our launcher reports which rank it was
            line = f"error: {stage}: rank {os.environ['RANK']} lost another rank, and ends; run it again to go on"
            print(f"{line} from the last checkpoint", file=sys.__stderr__, flush=True)
        os._exit(LOST_EXIT_CODE if lost else 1)  # skips the exit handlers, which would wait for the lost rank

    for each in STOP_SIGNALS:
        signal.signal(each, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    sys.excepthook = explain
    if LAUNCHER in os.environ and sys.platform == "linux":  # ranks exit when the launcher is killed
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(os.environ[LAUNCHER]):
            os._exit(LOST_EXIT_CODE)
    if device == "cuda":
        torch.cuda.set_device(settings().torch_device())
    if os.environ["RANK"] != "0":
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 -- only the first rank prints; open until exit
    atexit.register(dist.destroy_process_group)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo", timeout=TIMEOUT)


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
    first, end = (rows * each // count() for each in (rank(), rank() + 1))
    parts = -(-largest_share(rows) // largest)
    bounds = [first + (end - first) * each // parts for each in range(parts + 1)]
    return [slice(*each) for each in pairwise(bounds)]


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
