"""Train on a corpus while it is downloaded, never storing all of it; reading can start at any document.

The first documents (`data.max_documents`, `data.max_bytes`) are downloaded like any corpus, for validation and the
tokenizer. The stream is everything after them, repeated endlessly. `stream.json` lists the files with their versions
and the hash of the code that reads them. It is stored with the tokens, so training depends on that code only when it
streams.
"""

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from gptcore.closure import code_sha256
from gptcore.config.paths import Paths
from gptcore.corpus.corpus import Corpus, DataConfig
from gptcore.corpus.selection import Selection
from gptcore.corpus.upstream import FETCHED, StreamedFile, files_sha256, streamed_files
from gptcore.errors import UserError
from gptcore.files import write_json
from gptcore.prefetch import Prefetch


class Place(NamedTuple):
    """The position of a document in the stream: file number, and text number in that file."""

    file: int
    text: int


class StreamMeta(BaseModel):
    """stream.json; the stream begins at `start`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: DataConfig
    files: tuple[StreamedFile, ...]
    start: Place
    code_sha256: str


def pinned_files(corpus: Corpus) -> tuple[StreamedFile, ...]:
    """The files of a stream. Raises UserError unless they match `data.sha256`."""
    files, wanted = streamed_files(corpus), corpus.data.sha256
    if (found := files_sha256(files)) != wanted:
        what = "are not those pinned any more" if wanted else "are not pinned, and a stream's must be"
        raise UserError(
            f"the {len(files):,} files of data.source {what}: their versions have the sha256 {found}"
            f"{f', not {wanted}' if wanted else ''}; if they are what you want, set data.sha256 to the former"
        )
    return files


def write_stream(path: Path, corpus: Corpus, files: tuple[StreamedFile, ...]) -> None:
    """Write stream.json for everything after the documents that were read from `corpus`."""
    code = code_sha256("gptcore.corpus.stream")
    meta = StreamMeta(data=corpus.data, files=files, start=Place(*corpus.end), code_sha256=code)
    write_json(path, meta.model_dump(mode="json"))


class Stream:
    """The documents of the stream that `path` describes, starting at any place.

    Each file is downloaded while the one before it is read, verified against its pinned version, and deleted after
    reading. At most three files are on disk and one record is in memory.
    """

    def __init__(self, path: Path, paths: Paths) -> None:
        """Raises UserError, Unavailable."""
        self.meta = StreamMeta.model_validate_json(path.read_bytes())
        self.start, self.fetched = self.meta.start, 0
        folder = _own_folder(paths.scratch / "stream")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.corpus = Corpus(self.meta.data, paths.root, folder)
        self.corpus.store.shows_progress = False  # training shows its own progress
        self.files = tuple(self.corpus.files_of_source())
        if [each.address for each in self.files] != [each.address for each in self.meta.files]:
            raise UserError("data.source names other files than when it was pinned; `gptcore data verify` tells which")

    def documents(self, place: tuple[int, int]) -> Iterator[tuple[Place, str]]:
        """Endless: after the last file, starts over at the stream's first document. Raises UserError, Unavailable."""
        data = self.meta.data
        selection = Selection(data.languages, data.min_bytes, False, 0, 0)
        barren_files = 0
        with closing(Prefetch(self._fetched(Place(*place)))) as fetched:
            for number, first, path in fetched:
                barren_files += 1
                for text_number, text in enumerate(self.corpus.texts_of(self.files[number], path)):
                    if text_number >= first and selection.takes(text, text.text.encode()):
                        barren_files = 0
                        yield Place(number, text_number), text.text
                if barren_files > len(self.files):
                    raise UserError("data.source has no documents but the first, which are kept; lower data.max_bytes")
                if self.files[number].address.startswith(FETCHED):
                    path.unlink()

    def _fetched(self, place: Place) -> Iterator[tuple[int, int, Path]]:
        """Number, first text and path of each file."""
        while True:
            yield place.file, place.text, self._fetch(place.file)
            yield from ((number, 0, self._fetch(number)) for number in range(place.file + 1, len(self.files)))
            place = self.start

    def _fetch(self, number: int) -> Path:
        """Download a file and return its path. Raises Unavailable, and UserError for another version."""
        file, pinned = self.files[number], self.meta.files[number]
        whole = file.fetch()
        kept = self.corpus.store.recorded(file.address)
        if pinned.version not in (whole.sha256, kept.version if kept else ""):
            raise UserError(
                f"{file.address} is not the pinned one any more: its version was {pinned.version}, now its sha256 is "
                f"{whole.sha256}; `dvc repro download` says how to accept the present one"
            )
        if not file.address.startswith(FETCHED):
            return whole.path
        # a unique name: the next round may download the same file again while this one is being read
        self.fetched += 1
        return whole.path.rename(whole.path.with_name(f"{self.fetched}.read"))


def _own_folder(parent: Path) -> Path:
    """Create a folder for this process and remove the folders of processes that no longer exist."""
    parent.mkdir(parents=True, exist_ok=True)
    for each in parent.iterdir():
        if not Path("/proc", each.name.partition("-")[0]).exists():
            shutil.rmtree(each, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent))
