"""Start the ranks of a stage: join the process group as one of them, or launch them."""

import atexit
import ctypes
import os
import signal
import sys
import traceback
from datetime import timedelta
from pathlib import Path
from types import FrameType, TracebackType

import torch
import torch.distributed as dist

from gptcore.config.settings import settings
from gptcore.errors import LOST_EXIT_CODE, STOPPED_EXIT_CODE, UserError
from gptcore.ranks.distributed import count_here
from gptcore.ranks.launch import LAUNCHER, STOP_SIGNALS, launch

TIMEOUT = timedelta(hours=1)  # ranks wait while the first one writes; dead ranks are detected by other means
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
            print(f"{stage}: stopped before its first result; run it again", file=sys.stderr, flush=True)
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
