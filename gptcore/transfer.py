"""Files from elsewhere to this machine, whole: resumed after a cut or a kill, tried again, verified, kept.

A kept file bears its sha256 as its name. A record of what each address gave when it was first used lies beside it;
from then on an address must give the same, as long as nothing else says which file is meant.
"""

import fcntl
import hashlib
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from gptcore.errors import Unavailable, UserError
from gptcore.files import sha256_file, write_json, write_text
from gptcore.progress import Progress

RETRY_WAITS_SECONDS = (1.0, 3.0, 6.0)  # give or take a half, so that workers do not march in step

Result = TypeVar("Result")


class Answer(NamedTuple):
    """What a server gives: bytes from `offset` on, of a whole of `size`, if it says so.

    `version` is its ETag or date: the same version is the same content. Empty where it names none.
    """

    offset: int
    size: int | None
    version: str
    chunks: Iterator[bytes]


# (offset, version) -> what is there from `offset` on if it is still `version`, else all; raises Unavailable, UserError
Reader = Callable[[int, str], AbstractContextManager[Answer]]


class Kept(BaseModel):
    """A file that came from `address` and lies here whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    size: int
    sha256: str
    version: str


class Store:
    """Kept files and records in `folder`. `hold`: an address must give what it gave first. `ask_again`: a kept file
    counts only while its server has that version.
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
        """What `address` gave first."""
        try:
            return Kept.model_validate_json(self.record_path(address).read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            raise UserError(f"{self.record_path(address)} is damaged; remove it") from None

    def forget(self, address: str) -> None:
        """What `address` gives next is what it gave first."""
        self.record_path(address).unlink(missing_ok=True)

    def is_whole(self, sha256: str) -> bool:
        path = self.path(sha256)
        return path.is_file() and sha256_file(path) == sha256

    def add(self, address: str, file: Path, sha256: str, version: str) -> Kept:
        """Move a file that came from `address` in; it must have the given sha256, if one is given. Raises UserError."""
        kept = Kept(address=address, size=file.stat().st_size, sha256=sha256_file(file), version=version)
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
        """The same with what a stream gives."""
        with self.locked(address):
            part = self.folder / f"{address_key(address)}.part"
            with part.open("wb") as file:
                shutil.copyfileobj(stream, file, 1 << 20)
            return self.add(address, part, "", "")

    @contextmanager
    def locked(self, address: str) -> Iterator[None]:
        """Two runs of a machine never fetch the same at once: the second finds it kept."""
        with (self.folder / f"{address_key(address)}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def fetch(address: str, sha256: str, store: Store, reader: Reader) -> Kept:
    """The file at `address`, kept or fetched; with a `sha256` it must have it. Raises UserError, Unavailable."""
    with store.locked(address):
        first = store.recorded(address)
        wanted = sha256 or (first.sha256 if first else "")
        if wanted and store.is_whole(wanted):
            version = first.version if first and first.sha256 == wanted else ""
            if sha256 or not store.ask_again or retry(lambda: _is_still(version, reader)):
                return Kept(address=address, size=store.path(wanted).stat().st_size, sha256=wanted, version=version)
        part = store.folder / f"{address_key(address)}.part"
        version = _receive(address, part, reader, store.shows_progress)
        kept = store.add(address, part, sha256, version)
        _version_file(part).unlink(missing_ok=True)
        return kept


def retry(action: Callable[[], Result]) -> Result:
    """`action()`, tried again with growing waits while it is Unavailable."""
    for wait in RETRY_WAITS_SECONDS:
        try:
            return action()
        except Unavailable as error:
            pause(error, wait)
    return action()


def pause(error: Unavailable, wait_seconds: float) -> None:
    wait_seconds *= random.uniform(0.5, 1.5)
    print(f"download  {str(error).partition(';')[0]}; trying again in {wait_seconds:.1f} s", flush=True)
    time.sleep(wait_seconds)


def _is_still(version: str, reader: Reader) -> bool:
    with reader(0, "") as answer:  # its content is not read
        return bool(version) and answer.version == version


def _receive(address: str, part: Path, reader: Reader, shows_progress: bool) -> str:
    """Bring all of `address` into `part`, beginning where an earlier attempt ended; returns the version."""
    waits = list(RETRY_WAITS_SECONDS)
    while True:
        before = _size(part)
        try:
            return _receive_once(address, part, reader, shows_progress)
        except Unavailable as error:
            if _size(part) > before:
                waits = list(RETRY_WAITS_SECONDS)  # it is getting on
            if not waits:
                raise
            pause(error, waits.pop(0))


def _receive_once(address: str, part: Path, reader: Reader, shows_progress: bool) -> str:
    known = _version_file(part).read_text() if _version_file(part).exists() else ""
    offset = _size(part) if known else 0
    with reader(offset, known) as answer, part.open("ab") as file:
        file.truncate(answer.offset)
        if answer.version != known:
            write_text(_version_file(part), answer.version)
        with _received(answer, shows_progress) as received:
            for chunk in answer.chunks:
                file.write(chunk)
                received(len(chunk))
    if answer.size is not None and _size(part) != answer.size:
        raise Unavailable(f"{address}: the answer ended after {_size(part):,} of {answer.size:,} bytes; try again")
    return answer.version


@contextmanager
def _received(answer: Answer, shows_progress: bool) -> Iterator[Callable[[int], None]]:
    """Shows progress if the size of the whole is known."""
    done = answer.offset
    with (
        Progress("download", answer.size, "byte", done) if answer.size and shows_progress else nullcontext() as progress
    ):

        def received(count: int) -> None:
            nonlocal done
            done += count
            if progress:
                progress.update(done)

        yield received


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _version_file(part: Path) -> Path:
    return part.with_suffix(".version")


def address_key(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()[:16]
