"""Launch a stage once per device of this machine and stop its ranks together.

Ranks find each other through torchrun's environment variables, so torchrun can replace this launcher. On any failure
torchrun exits with code 1 and a page of text; this launcher passes on the failed rank's exit code and one-line message.
"""

import os
import signal
import subprocess
import sys
import time
from types import FrameType

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from gptcore.errors import LOST_EXIT_CODE, MISTAKE_EXIT_CODE, STOPPED_EXIT_CODE

STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}
LAUNCHER = "GPTCORE_LAUNCHER_PID"  # tells a rank which process started it
AGREED_SECONDS = 20.0  # grace for ranks after a clean exit: the first may still be writing a checkpoint
DEATH_SECONDS = 2.0  # grace for ranks after another died: they cannot continue
REPEAT_SECONDS = 2.0  # one Ctrl-C can arrive twice, from the terminal and from a process that forwards it


def launch(stage: str, ranks: int) -> int:
    """Run the current command as ranks 0 to `ranks` - 1; returns the exit code for the whole (see errors.py)."""
    # the store is here, not in rank 0, so that the port is bound before any rank reads its number
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    launched = _Launched([])
    # ranks inherit the blocked signals and unblock them in _join, once their handlers are installed
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        for rank in range(ranks):
            command = [sys.executable, *sys.orig_argv[1:]]
            launched.ranks.append(subprocess.Popen(command, env=_environment(rank, ranks, store.port)))
        for each in STOP_SIGNALS:
            signal.signal(each, launched.stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        return _verdict(stage, launched.wait(), launched.asked_at > 0)
    finally:
        launched.kill()


class _Launched:
    """The ranks' processes, and whether they were asked to stop."""

    def __init__(self, ranks: list[subprocess.Popen[bytes]]) -> None:
        self.ranks, self.asked_at = ranks, 0.0

    def stop(self, number: int, frame: FrameType | None) -> None:
        """On the first signal, ask every rank to stop; on a later one, kill them."""
        if not self.asked_at:
            self.asked_at = time.monotonic()
            for each in self.ranks:
                each.send_signal(signal.SIGTERM)
        elif time.monotonic() - self.asked_at > REPEAT_SECONDS:
            self.kill()

    def kill(self) -> None:
        for each in self.ranks:
            each.kill()
        for each in self.ranks:
            each.wait()

    def wait(self) -> dict[int, int]:
        """Exit codes by rank, in the order they exited; ranks still alive after the grace period are left out."""
        codes: dict[int, int] = {}
        deadline = float("inf")
        while len(codes) < len(self.ranks) and time.monotonic() < deadline:
            time.sleep(0.02)
            codes |= {
                rank: each.returncode
                for rank, each in enumerate(self.ranks)
                if rank not in codes and each.poll() is not None
            }
            failed = [code for code in codes.values() if code]
            if failed:
                agreed = all(code in (MISTAKE_EXIT_CODE, STOPPED_EXIT_CODE) for code in failed)
                deadline = min(deadline, time.monotonic() + (AGREED_SECONDS if agreed else DEATH_SECONDS))
        return codes


def _verdict(stage: str, codes: dict[int, int], asked: bool) -> int:
    failed = [(rank, code) for rank, code in codes.items() if code]
    if not failed:
        return 0
    # a rank that lost another one is not the cause
    rank, code = next((each for each in failed if each[1] != LOST_EXIT_CODE), failed[0])
    if asked and code in (STOPPED_EXIT_CODE, -signal.SIGTERM, -signal.SIGINT):
        if codes.get(0) != STOPPED_EXIT_CODE:  # the signal came before rank 0's handler was installed
            print(f"{stage}: stopped; run it again", file=sys.stderr, flush=True)
        return STOPPED_EXIT_CODE
    if code in (MISTAKE_EXIT_CODE, STOPPED_EXIT_CODE) and codes.get(0) == code:  # rank 0 has printed the reason
        return code
    how = f"died (signal {-code})" if code < 0 else f"ended with code {code}"
    end = "the others were stopped; run it again to go on from the last checkpoint"
    print(f"error: {stage}: rank {rank} {how}; {end}", file=sys.stderr, flush=True)
    return 128 - code if code < 0 else code


def _environment(rank: int, ranks: int, port: int) -> dict[str, str]:
    """torchrun's variables for one rank, and its share of the CPU cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ours = {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks,
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
        "TORCHELASTIC_USE_AGENT_STORE": True, "TORCHELASTIC_RESTART_COUNT": 0, LAUNCHER: os.getpid(),
    }  # fmt: skip
    defaults = {"OMP_NUM_THREADS": str(max(cores // ranks, 1))}
    if sys.platform == "linux":
        defaults["GLOO_SOCKET_IFNAME"] = "lo"  # all ranks are on this machine
    return {**defaults, **os.environ, **{name: str(value) for name, value in ours.items()}}
