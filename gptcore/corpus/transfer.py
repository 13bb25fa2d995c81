"""Download files completely: resume after an interruption, retry on errors, verify the result."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple, TypeVar

from gptcore.corpus.store import Kept, Store, address_key
from gptcore.errors import Unavailable
from gptcore.files import write_text
from gptcore.progress import Progress

RETRY_WAITS_SECONDS = (1.0, 3.0, 6.0)  # jittered by up to half, so that workers do not retry in lockstep

Result = TypeVar("Result")


class Answer(NamedTuple):
    """A server's response: the bytes from `offset` on; `size` is the total, if known.

    `version` is the ETag or date, which identifies the content; empty if the server sends neither.
    """

    offset: int
    size: int | None
    version: str
    chunks: Iterator[bytes]


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
        version = _receive(address, part, reader, store.shows_progress)
        kept = store.add(address, part, sha256, version)
        _version_file(part).unlink(missing_ok=True)
        return kept


def retry(action: Callable[[], Result]) -> Result:
    """Call `action`; while it raises Unavailable, retry up to three times with growing waits."""
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
    with reader(0, "") as answer:  # does not read the content
        return bool(version) and answer.version == version


def _receive(address: str, part: Path, reader: Reader, shows_progress: bool) -> str:
    """Download `address` into `part`, resuming where an earlier attempt stopped; returns the version."""
    waits = list(RETRY_WAITS_SECONDS)
    while True:
        before = _size(part)
        try:
            return _receive_once(address, part, reader, shows_progress)
        except Unavailable as error:
            if _size(part) > before:
                waits = list(RETRY_WAITS_SECONDS)  # the download made progress
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
    """Shows progress if the total size is known."""
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
