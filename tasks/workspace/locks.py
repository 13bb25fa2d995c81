"""Turns: of two runs on this machine that would do the same thing, the second waits and finds it done."""

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect import get_run_logger

from gptcore.config.paths import Paths


@contextmanager
def turn(checkout: Path, what: str) -> Iterator[bool]:
    """Be the only run of `checkout` that does `what`; waits while another does. Gives whether it had to.

    A byte of one file stands for it: nothing is left behind, however many there were, and a killed run lets go. (Such
    locks are the process's, and closing the file gives all of them back: no turn within a turn.)
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
