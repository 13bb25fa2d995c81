"""Workspaces: the clones in which flows run, data/scratch/workspaces/<flow run>. Each is locked while its run is alive.

A successful run removes its workspace. The workspace of a failed or killed run is kept for inspection until
`gptcore workspaces remove`.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gptcore.config.paths import Paths
from gptcore.errors import UserError
from gptcore.files import write_text

RUN_ID = ".git/flow-run-id"


@dataclass(frozen=True)
class Found:
    """One clone. `size_bytes` is the space its removal frees: files hard-linked to DVC's cache do not count."""

    name: str
    is_running: bool
    age_seconds: float
    size_bytes: int
    flow_run_id: str | None


@contextmanager
def hold(checkout: Path, name: str) -> Iterator[Path]:
    """Yield an empty folder for the run `name`, locked until the block ends. Removes it then, unless the block raises.

    First removes the files of an earlier attempt. Raises UserError while another process holds the lock.
    """
    root = _folder(checkout) / name
    root.mkdir(parents=True, exist_ok=True)
    lock = _lock(root)
    if lock is None:
        raise UserError(f"another run works in {root}; give this one another name, or wait for that one to end")
    try:
        for each in root.iterdir():
            shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
        yield root
        shutil.rmtree(root)
    finally:
        os.close(lock)


def sign(root: Path, flow_run_id: str) -> None:
    """Record the flow run's id in the clone `root`."""
    write_text(root / RUN_ID, flow_run_id)


def find(checkout: Path) -> list[Found]:
    """All workspaces, oldest first, including incomplete ones."""
    roots = [each for each in _folder(checkout).glob("*") if each.is_dir()]
    return sorted((_look(root) for root in roots), key=lambda found: -found.age_seconds)


def remove(checkout: Path, name: str) -> None:
    """Remove a workspace. Raises UserError when it does not exist or its run is still alive."""
    root = _folder(checkout) / name
    if root not in _folder(checkout).glob("*"):
        raise UserError(f"there is no workspace {name!r} in {_folder(checkout)}; `gptcore workspaces` lists them")
    lock = _lock(root)
    if lock is None:
        raise UserError(f"the run of workspace {name} is still at work in it; cancel it first")
    try:
        shutil.rmtree(root)
    finally:
        os.close(lock)


def _folder(checkout: Path) -> Path:
    return Paths(checkout).scratch / "workspaces"


def _lock(root: Path) -> int | None:
    """Lock the folder and return the descriptor, or None if it is locked. The lock is released even on kill -9."""
    descriptor = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _look(root: Path) -> Found:
    lock = _lock(root)
    if lock is not None:
        os.close(lock)
    signature = root / RUN_ID
    sizes = [each.lstat() for each in root.rglob("*") if each.is_file() and not each.is_symlink()]
    return Found(
        name=root.name,
        is_running=lock is None,
        age_seconds=max(time.time() - root.stat().st_mtime, 0),
        size_bytes=sum(each.st_size for each in sizes if each.st_nlink == 1),
        flow_run_id=signature.read_text(encoding="utf-8") if signature.exists() else None,
    )
