"""A cache of downloaded files, stored under their sha256, with a record of what each address returned first.

Later downloads from an address must match its record, unless a sha256 pins the file.
"""

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict, ValidationError

from gptcore.addresses import redacted
from gptcore.errors import UserError
from gptcore.files import sha256_file, write_json


class Kept(BaseModel):
    """A complete cached file, downloaded from `address`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    size: int
    sha256: str
    version: str


class Store:
    """The cached files and records in `folder`.

    `hold`: an address must return what it returned first. `ask_again`: revalidate cached files with their servers.
    """

    def __init__(self, folder: Path, hold: bool = True, ask_again: bool = False) -> None:
        self.folder, self.hold, self.ask_again = folder, hold, ask_again
        self.shows_progress = True
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        return self.folder / f"{sha256}.file"

    def record_path(self, address: str) -> Path:
        return self.folder / f"{address_key(address)}.json"

    def recorded(self, address: str) -> Kept | None:
        """What `address` returned first, None if it was never downloaded. Raises UserError."""
        try:
            return Kept.model_validate_json(self.record_path(address).read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            raise UserError(f"{self.record_path(address)} is damaged; remove it") from None

    def forget(self, address: str) -> None:
        """Remove the record of `address`; the next download makes a new one."""
        self.record_path(address).unlink(missing_ok=True)

    def is_whole(self, sha256: str) -> bool:
        path = self.path(sha256)
        return path.is_file() and sha256_file(path) == sha256

    def add(self, address: str, file: Path, sha256: str, version: str) -> Kept:
        """Move a file downloaded from `address` into the cache; it must match `sha256`, if given. Raises UserError."""
        kept = Kept(address=redacted(address), size=file.stat().st_size, sha256=sha256_file(file), version=version)
        first = self.recorded(address)
        remedy = "nothing was kept"
        if not sha256 and self.hold and first:
            sha256, remedy = first.sha256, f"to accept the new one, `rm {self.record_path(address)}` and run this again"
        if sha256 and kept.sha256 != sha256:
            file.unlink()
            size = f" of {first.size:,} bytes" if first and first.sha256 == sha256 else ""
            raise UserError(
                f"{address} has the sha256 {kept.sha256} of {kept.size:,} bytes, not {sha256}{size}; {remedy}"
            )
        file.replace(self.path(kept.sha256))
        write_json(self.record_path(address), kept.model_dump())
        return kept

    def add_stream(self, address: str, stream: IO[bytes]) -> Kept:
        """Like `add`, for the content of a stream."""
        with self.locked(address):
            part = self.folder / f"{address_key(address)}.part"
            with part.open("wb") as file:
                shutil.copyfileobj(stream, file, 1 << 20)
            return self.add(address, part, "", "")

    @contextmanager
    def locked(self, address: str) -> Iterator[None]:
        """Lock `address` across processes: of two concurrent runs, the second finds the file cached."""
        with (self.folder / f"{address_key(address)}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def address_key(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()[:16]
