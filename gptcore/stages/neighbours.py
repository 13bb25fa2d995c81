"""Whether other programs compute on this machine now."""

import os
import time
from pathlib import Path
from statistics import median

LOAD = Path("/proc/loadavg")
SAMPLES, SECONDS_BETWEEN = 5, 0.004  # a service that wakes for a moment is in few of them
BUSY_SHARE = 0.25  # of the cores


def are_busy(load: Path = LOAD, cores: int | None = None) -> bool:
    """Whether others keep a quarter of the cores busy, and at least one. False where the system does not say.

    The mean over the last minute would not do: most of it may be the previous stage.
    """
    if not load.exists():  # only Linux has it
        return False
    others = []
    for _ in range(SAMPLES):
        others.append(_running(load) - 1)  # this thread
        time.sleep(SECONDS_BETWEEN)
    return median(others) >= max(BUSY_SHARE * (cores or os.cpu_count() or 1), 1)


def _running(load: Path) -> int:
    """Threads that run or wait for a core: `0.20 0.18 0.12 3/80 11206` has 3 (man 5 proc)."""
    return int(load.read_text().split()[3].split("/")[0])
