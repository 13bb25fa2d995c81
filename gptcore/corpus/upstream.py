"""Check whether the source of the corpus has changed: compare versions, and download again only where they differ."""

import hashlib

from pydantic import BaseModel, ConfigDict

from gptcore.config.paths import Paths
from gptcore.corpus.corpus import Corpus, DataConfig
from gptcore.corpus.documents import content
from gptcore.corpus.sources import SourceFile
from gptcore.corpus.transfer import retry
from gptcore.errors import UserError
from gptcore.files import read_json

FETCHED = ("http://", "https://", "s3://")


class StreamedFile(BaseModel):
    """A file of the source; its version is an ETag, a date, or the sha256 of its content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    version: str


def pinned_text(data: DataConfig, paths: Paths) -> str:
    """The sha256 that params.yaml pins, else that of the downloaded text. Raises UserError."""
    if data.sha256:
        return data.sha256
    if data.mode == "stream":
        raise UserError("a stream needs data.sha256; `dvc repro download` says which")
    try:
        return str(read_json(paths.raw / "sources.json")["text_sha256"])
    except FileNotFoundError:
        raise UserError("there is no corpus yet to compare with; run `dvc repro download` or set data.sha256") from None


def present_text(data: DataConfig, paths: Paths) -> str:
    """The sha256 of the text that the source has now. Downloads are cached for the next download stage.

    Raises UserError, Unavailable.
    """
    corpus = Corpus(data, paths.root, paths.scratch / "download", ask_again=True)
    corpus.store.hold = False
    if data.mode == "stream":
        return files_sha256(streamed_files(corpus))
    digest = hashlib.sha256()
    for document in corpus.documents():
        digest.update(content(document.encoded))
    return digest.hexdigest()


def version_of(file: SourceFile) -> str:
    """The version of a file's content: the server's ETag or date; for other files, the sha256 of the content.

    Raises Unavailable, and UserError if the server sends neither.
    """
    if file.version is None:
        return file.fetch().sha256
    if version := retry(file.version):
        return version
    raise UserError(f"{file.address} has no ETag or date by which it could be pinned; take data.mode=files")


def streamed_files(corpus: Corpus) -> tuple[StreamedFile, ...]:
    """All files of the source and their versions. Raises Unavailable, and UserError if a file has none."""
    return tuple(StreamedFile(address=each.address, version=version_of(each)) for each in corpus.files_of_source())


def files_sha256(files: tuple[StreamedFile, ...]) -> str:
    """The digest that `data.sha256` must equal for a stream."""
    return hashlib.sha256("".join(f"{each.address} {each.version}\n" for each in files).encode()).hexdigest()
