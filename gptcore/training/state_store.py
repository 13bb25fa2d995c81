"""Checkpoint storage: a local folder, or a prefix of an S3 bucket. An entry is a small folder of files.

Entries are written atomically: locally, a finished temporary folder is renamed; on S3, which has no rename, the file
`LAST` is uploaded last, and an entry without it does not count. All failures are raised as OSError, whatever the
underlying library raises.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from gptcore.errors import UserError
from gptcore.files import SUMS, atomic_path
from gptcore.s3 import bucket_and_key, listed, oserrors, s3_files

LAST = SUMS


class StateStore(Protocol):
    """A store of entries; its `str()` is its address."""

    def names(self) -> list[str]:
        """Names of all entries, including unfinished ones."""
        ...

    def writing(self, name: str) -> AbstractContextManager[Path]:
        """Yield a folder to fill; it becomes the entry `name` when the block ends, and is dropped if it raises."""
        ...

    def reading(self, name: str) -> AbstractContextManager[Path]:
        """Yield a folder with the files of the entry `name`."""
        ...

    def remove(self, name: str) -> None: ...

    def clear(self) -> None:
        """Remove the store itself."""
        ...


def open_state_store(address: str) -> StateStore:
    """Open a folder or s3://bucket/prefix and check that it is writable. Raises UserError."""
    if "://" in address and not address.startswith("s3://"):
        raise UserError(f"checkpoints cannot lie at {address}; GPTCORE_CHECKPOINTS is a folder or s3://bucket/prefix")
    try:
        return S3Prefix(address) if address.startswith("s3://") else Folder(Path(address).expanduser())
    except (OSError, RuntimeError) as error:  # RuntimeError: a `~name` of nobody
        cause = " ".join(str(error).split())
        raise UserError(
            f"checkpoints cannot be written to {address}: {cause}; mend that, or name another in GPTCORE_CHECKPOINTS"
        ) from None


def clear_state_stores(file: Path) -> None:
    """Remove the stores listed in `file`, one per line, then `file` itself. Raises UserError, OSError."""
    for address in file.read_text(encoding="utf-8").splitlines():
        open_state_store(address).clear()
    file.unlink()


class Folder:
    def __init__(self, path: Path) -> None:
        """Raises OSError when the folder is not writable."""
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass

    def __str__(self) -> str:
        return str(self.path)

    def names(self) -> list[str]:
        try:
            return [each.name for each in self.path.iterdir()]
        except FileNotFoundError:
            return []

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        with atomic_path(self.path / name) as temporary:
            temporary.mkdir()
            yield temporary

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        yield self.path / name

    def remove(self, name: str) -> None:
        path = self.path / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    def clear(self) -> None:
        shutil.rmtree(self.path)


class S3Prefix:
    """Endpoint, region and credentials come from the usual AWS environment (AWS_ENDPOINT_URL, AWS_PROFILE, ...)."""

    def __init__(self, url: str) -> None:
        """Raises OSError when the prefix is not writable, UserError when s3fs is not installed."""
        self.url = url.rstrip("/")
        with oserrors():
            self.files = s3_files(f"checkpoints at {url}")
            self.files.pipe_file(f"{self.url}/.writable", b"")
            self.files.rm_file(f"{self.url}/.writable")

    def __str__(self) -> str:
        return self.url

    def names(self) -> list[str]:
        return list(dict.fromkeys(key.partition("/")[0] for key in self._keys("")))

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="gptcore-") as temporary:
            yield Path(temporary)
            try:
                with oserrors():
                    for path in sorted(Path(temporary).iterdir(), key=lambda each: each.name == LAST):
                        self.files.put_file(str(path), f"{self.url}/{name}/{path.name}")
            except OSError:
                with suppress(OSError):
                    self.remove(name)
                raise

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="gptcore-") as temporary:
            with oserrors():
                for key in self._keys(f"{name}/"):
                    self.files.get_file(f"{self.url}/{key}", str(Path(temporary, key.rpartition("/")[2])))
            yield Path(temporary)

    def remove(self, name: str) -> None:
        self._remove([f"{name}/{LAST}", *self._keys(f"{name}/")])  # so that a half-removed entry no longer counts

    def clear(self) -> None:
        self._remove(self._keys(""))

    def _keys(self, beginning: str) -> list[str]:
        """The keys below the prefix that begin so."""
        with oserrors():
            bucket, key = bucket_and_key(self.files, self.url)
            top = f"{key}/" if key else ""
            return [each.key.removeprefix(top) for each in listed(self.files, bucket, top + beginning)]

    def _remove(self, keys: list[str]) -> None:
        with oserrors():
            for key in keys:
                self.files.rm_file(f"{self.url}/{key}")
