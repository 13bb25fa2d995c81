"""A folder that several processes may fill at once: the last of them to be done removes it, killed ones leave it."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def shared_folder(path: Path) -> Iterator[None]:
    """`path`, there until the block ends; then removed unless the block raises or another process is in its own."""
    lock = _lock(path)
    try:
        yield
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)
    finally:
        os.close(lock)


def _lock(path: Path) -> int:
    """A descriptor that holds it."""
    while True:
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_SH)
        if os.fstat(lock).st_nlink:
            return lock
        os.close(lock)  # one that was done has removed it meanwhile
