"""Start a stage once per device of this machine and end its ranks together.

The ranks find each other through the variables of torchrun, which can take this launcher's place. torchrun ends with
exit code 1 and a page of text whatever happened; here a rank's own exit code and its one line are the answer.
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
LAUNCHER = "GPTCORE_LAUNCHER_PID"  # how a rank knows who started it
AGREED_SECONDS = 20.0  # for ranks that end of themselves: the first of them may still write a checkpoint
DEATH_SECONDS = 2.0  # for ranks whose neighbour died: they cannot go on
REPEAT_SECONDS = 2.0  # one Ctrl-C can arrive twice, from the terminal and from whoever passes it on


def launch(stage: str, ranks: int) -> int:
    """Run this very command as ranks 0 to `ranks` - 1; returns what the whole should exit with (see errors.py)."""
    # held here, not by rank 0, so that the port is taken before anyone is told of it
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    launched = _Launched([])
    # a rank hears a stop signal only once it can answer it: it inherits the mask and lifts it when it joins
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
        """On the first signal ask every rank to stop; on a later one end them."""
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
        """Exit code by rank, in the order in which they ended; ranks that outlive another's failure are left out."""
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
    # a rank that lost its neighbour is not the one to blame
    rank, code = next((each for each in failed if each[1] != LOST_EXIT_CODE), failed[0])
    if asked and code in (STOPPED_EXIT_CODE, -signal.SIGTERM, -signal.SIGINT):
        if codes.get(0) != STOPPED_EXIT_CODE:  # it came before the first rank could answer it
            print(f"{stage}: stopped; run it again", file=sys.stderr, flush=True)
        return STOPPED_EXIT_CODE
    if code in (MISTAKE_EXIT_CODE, STOPPED_EXIT_CODE) and codes.get(0) == code:  # the first rank has said why
        return code
    how = f"died (signal {-code})" if code < 0 else f"ended with code {code}"
    end = "the others were stopped; run it again to go on from the last checkpoint"
    print(f"error: {stage}: rank {rank} {how}; {end}", file=sys.stderr, flush=True)
    return 128 - code if code < 0 else code


def _environment(rank: int, ranks: int, port: int) -> dict[str, str]:
    """torchrun's variables for one rank, and its share of the processor."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ours = {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks,
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
        "TORCHELASTIC_USE_AGENT_STORE": True, "TORCHELASTIC_RESTART_COUNT": 0, LAUNCHER: os.getpid(),
    }  # fmt: skip
    defaults = {"OMP_NUM_THREADS": str(max(cores // ranks, 1))}
    if sys.platform == "linux":
        defaults["GLOO_SOCKET_IFNAME"] = "lo"  # all are on this machine
    return {**defaults, **os.environ, **{name: str(value) for name, value in ours.items()}}
