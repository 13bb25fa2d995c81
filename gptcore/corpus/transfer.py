"""Download files completely: resume after an interruption, retry on errors, verify the result."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from gptcore.corpus.store import Kept, Store, address_key
from gptcore.errors import Unavailable
from gptcore.files import sha256_file, write_text
from gptcore.progress import Progress

RETRY_WAITS_SECONDS = (1.0, 3.0, 6.0)  # jittered by up to half, so that workers do not retry in lockstep
SHOWN_BYTES = 1 << 20  # smaller files show no progress: there may be thousands
LONGEST_WAIT_SECONDS = 60.0  # that a server may ask for; whoever asks for more gets the next try from a later run

Result = TypeVar("Result")


class Answer(NamedTuple):
    """A server's response: the bytes from `offset` on; `size` is the total, if known.

    `version` is the ETag or date, which identifies the content; empty if the server sends neither.
    """

    offset: int
    size: int | None
    version: str
    chunks: Iterator[bytes]


class Begun(BaseModel):
    """What a partial file is a part of, as the first answer said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = ""
    size: int | None = None


class Later(Unavailable):
    """The server is busy, and says how long (`Retry-After`)."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class Wrong(Unavailable):
    """What has come is wrong: the next try begins from nothing."""


# (offset, version) -> the content from `offset` on if it is still `version`, else all; raises Unavailable, UserError
Reader = Callable[[int, str], AbstractContextManager[Answer]]


def fetch(address: str, sha256: str, store: Store, reader: Reader) -> Kept:
    """The file at `address`, cached or downloaded; it must match `sha256`, if given. Raises UserError, Unavailable."""
    with store.locked(address):
        first = store.recorded(address)
        wanted = sha256 or (first.sha256 if first else "")
        if wanted and store.is_whole(wanted):
            version = first.version if first and first.sha256 == wanted else ""
            if sha256 or not store.ask_again or retry(lambda: _is_still(version, reader)):
                return Kept(address=address, size=store.path(wanted).stat().st_size, sha256=wanted, version=version)
        part = store.folder / f"{address_key(address)}.part"
        version, resumed = _receive(address, part, reader, store.shows_progress)
        if resumed and wanted and sha256_file(part) != wanted:  # its pieces may be of two versions
            _drop(part)
            version, _ = _receive(address, part, reader, store.shows_progress)
        try:
            return store.add(address, part, sha256, version)
        finally:
            _drop(part)


def retry(action: Callable[[], Result]) -> Result:
    """Call `action`; while it raises Unavailable, retry up to three times with growing waits."""
    for wait in RETRY_WAITS_SECONDS:
        try:
            return action()
        except Unavailable as error:
            pause(error, wait)
    return action()


def pause(error: Unavailable, wait_seconds: float) -> None:
    """Wait before the next try, as long as the server asks for. Raises `error` if that is too long."""
    wait_seconds *= random.uniform(0.5, 1.5)
    if isinstance(error, Later):
        if error.seconds > LONGEST_WAIT_SECONDS:
            raise error
        wait_seconds = max(wait_seconds, error.seconds)
    print(f"download  {str(error).partition(';')[0]}; trying again in {wait_seconds:.1f} s", flush=True)
    time.sleep(wait_seconds)


def unavailable(what: str, headers: Mapping[str, str]) -> Unavailable:
    """The error for a server that does not serve now; `headers` are those of its answer."""
    from urllib3.exceptions import InvalidHeader
    from urllib3.util import Retry

    try:
        seconds = Retry().parse_retry_after(headers["Retry-After"])
    except (KeyError, InvalidHeader, ValueError, OverflowError):  # none, or none that can be read
        return Unavailable(f"{what}; check the network and try again")
    return Later(f"{what}; the server asks to wait {seconds:,.0f} seconds, then try again", seconds)


def _is_still(version: str, reader: Reader) -> bool:
    with reader(0, "") as answer:  # does not read the content
        return bool(version) and answer.version == version


def _receive(address: str, part: Path, reader: Reader, shows_progress: bool) -> tuple[str, bool]:
    """Download `address` into `part`, resuming where an earlier attempt stopped.

    Returns the version, and whether it came in several pieces.
    """
    waits, furthest, resumed = list(RETRY_WAITS_SECONDS), _size(part), bool(_size(part))
    while True:
        try:
            return _receive_once(address, part, reader, shows_progress), resumed
        except Unavailable as error:
            if isinstance(error, Wrong):
                _drop(part)
            if _size(part) > furthest:  # further than any try before, so the number of tries is bounded
                waits, furthest = list(RETRY_WAITS_SECONDS), _size(part)
            if not waits:
                raise
            resumed = resumed or bool(_size(part))
            pause(error, waits.pop(0))


def _receive_once(address: str, part: Path, reader: Reader, shows_progress: bool) -> str:
    begun = _begun(part)
    offset = _size(part) if begun.version else 0
    if offset and offset == begun.size:
        if _is_still(begun.version, reader):
            return begun.version
        offset = 0
    with reader(offset, begun.version) as answer, part.open("ab") as file:
        if answer.offset and begun.size not in (None, answer.size):
            raise Wrong(f"{address}: was of {begun.size:,} bytes, and now the server says {answer.size}; try again")
        file.truncate(answer.offset)
        if (answer.version, answer.size) != (begun.version, begun.size):
            write_text(_begun_file(part), Begun(version=answer.version, size=answer.size).model_dump_json())
        with _received(answer, shows_progress) as received:
            for chunk in answer.chunks:
                file.write(chunk)
                received(len(chunk))
    if answer.size is not None and _size(part) != answer.size:
        kind = Unavailable if _size(part) < answer.size else Wrong
        raise kind(f"{address}: the answer ended after {_size(part):,} of {answer.size:,} bytes; try again")
    return answer.version


@contextmanager
def _received(answer: Answer, shows_progress: bool) -> Iterator[Callable[[int], None]]:
    """Shows progress if the total size is known, and large enough to wait for."""
    done = answer.offset
    shown = shows_progress and answer.size is not None and answer.size >= SHOWN_BYTES
    with Progress("download", answer.size or 0, "byte", done) if shown else nullcontext() as progress:

        def received(count: int) -> None:
            nonlocal done
            done += count
            if progress:
                progress.update(done)

        yield received


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _begun(part: Path) -> Begun:
    """Nothing if it is not known: then the part is not continued."""
    try:
        return Begun.model_validate_json(_begun_file(part).read_bytes())
    except (FileNotFoundError, ValidationError):
        return Begun()


def _begun_file(part: Path) -> Path:
    return part.with_suffix(".begun")


def _drop(part: Path) -> None:
    part.unlink(missing_ok=True)
    _begun_file(part).unlink(missing_ok=True)
