"""A folder that several processes can fill at once: the last to finish removes it; a killed process leaves it."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def shared_folder(path: Path) -> Iterator[None]:
    """Create `path` for the block; remove it afterwards unless the block raises or another process still uses it."""
    lock = _lock(path)
    try:
        yield
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)
    finally:
        os.close(lock)


def _lock(path: Path) -> int:
    """A file descriptor that holds a shared lock on the folder."""
    while True:
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_SH)
        if os.fstat(lock).st_nlink:
            return lock
        os.close(lock)  # a process that finished has removed the folder in the meantime
