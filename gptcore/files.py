"""Atomic file writes, and file hashes."""

import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gptcore.errors import UserError

SUMS = "SHA256SUMS"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and renamed to `path`, on failure removed.

    First removes temporary files that killed processes left for the same path. A folder replaces a folder; raises
    UserError when a file would.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        if not Path(f"/proc/{left.suffixes[-2][1:]}").exists():
            _remove(left)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        for each in [*temporary.rglob("*"), temporary] if temporary.is_dir() else [temporary]:
            _sync(each)
        if path.is_dir():
            if not temporary.is_dir():
                raise UserError(f"{path} is a folder, where a file is to be written; move it away or name another file")
            shutil.rmtree(path)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        _remove(temporary)


def write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256sums(folder: Path) -> str:
    """The content of SHA256SUMS in `folder`, for `sha256sum --check`: a line for each other file, sorted by name."""
    return "".join(f"{sha256_file(each)}  {each.name}\n" for each in sorted(folder.iterdir()) if each.name != SUMS)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def verify_sums(folder: Path) -> None:
    """Check every byte. Raises UserError that names the damaged file; OSError, ValueError when there are no sums."""
    for name, sha256 in read_sums(folder).items():
        verify_sum(folder / name, sha256)


def read_sums(folder: Path) -> dict[str, str]:
    """Name and sha256 of each file. Raises OSError, ValueError when there are no sums."""
    lines = (folder / SUMS).read_text("utf-8").splitlines()
    return {name: sha256 for sha256, name in (line.split("  ") for line in lines)}


def verify_sum(path: Path, sha256: str) -> None:
    """Check one file. Raises UserError if its hash differs; OSError if it is missing."""
    if (found := sha256_file(path)) != sha256:
        # DVC trusts a read-only file with an unchanged mtime, and would restore the damaged one from its cache
        remedy = f"get it anew; if DVC made it here, `chmod u+w {path} && touch {path} && dvc repro`"
        raise UserError(f"{path} is damaged: its sha256 is {found}, not {sha256} as in {SUMS}; {remedy}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
