"""Turns: of two runs on this machine that would do the same work, the second waits and finds it done."""

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect import get_run_logger

from gptcore.config.paths import Paths


@contextmanager
def turn(checkout: Path, what: str) -> Iterator[bool]:
    """Hold a lock, so that only one run of `checkout` does `what` at a time. Yields whether it had to wait.

    Each lock is one byte of a shared file, so locks leave no files behind, and a killed run releases its own. (Closing
    the file releases all locks of the process, so turns cannot be nested.)
    """
    path = Paths(checkout).scratch / "turns"
    path.parent.mkdir(parents=True, exist_ok=True)
    byte = int.from_bytes(hashlib.sha256(what.encode()).digest()[:7])
    with path.open("w") as file:
        waits = False
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except BlockingIOError:
            waits = True
            get_run_logger().info("another run is doing just this; waiting for it")
            fcntl.lockf(file, fcntl.LOCK_EX, 1, byte)
        yield waits
