"""Whether the machine is free for a measurement: what its other processes do, before each run and during it."""

import os
import resource
import time

import psutil

MOST = 0.1  # share of the machine's cores that others may use: two busy cores change each other's times twofold
SECONDS = 3.0


class Others:
    """The share of the machine's cores that processes other than this one and its children use."""

    def __init__(self) -> None:
        self.started, self.busy, self.own = time.perf_counter(), _busy_seconds(), _own_seconds()

    def share(self) -> float:
        """Since this was made."""
        busy = _busy_seconds() - self.busy - (_own_seconds() - self.own)
        return max(busy / (time.perf_counter() - self.started) / (psutil.cpu_count() or 1), 0.0)


def require_free(go_on: bool) -> float:
    """Watch for three seconds and return the share that others use. Exits if that is too much, unless `go_on`."""
    others = Others()
    time.sleep(SECONDS)
    share = others.share()
    refuse_above(share, go_on)
    return share


def refuse_above(share: float, go_on: bool) -> None:
    """Exit with one line if others use a larger `share` of the machine than a measurement bears."""
    if share > MOST and not go_on:
        raise SystemExit(
            f"other programs use {share:.0%} of the {os.cpu_count()} cores (load {os.getloadavg()[0]:.1f}); "
            f"at most {MOST:.0%} is fair to both sides: end them, or wait, or add --under-load, which the result says"
        )


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def _own_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
