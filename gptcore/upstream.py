"""Whether the source of the corpus gives what it gave: asked by version, fetched again only where that differs."""

import hashlib
from contextlib import AbstractContextManager

from gptcore.corpus import Corpus, DataConfig
from gptcore.errors import UserError
from gptcore.files import read_json
from gptcore.params import Paths
from gptcore.sources import SourceFile
from gptcore.transfer import Answer, Store, retry

FETCHED = ("http://", "https://", "s3://")


def pinned_text(data: DataConfig, paths: Paths) -> str:
    """The sha256 of the text that params.yaml asks for, or without one, of what was downloaded. Raises UserError."""
    if data.sha256:
        return data.sha256
    try:
        return str(read_json(paths.raw / "sources.json")["text_sha256"])
    except FileNotFoundError:
        raise UserError("there is no corpus yet to compare with; run `dvc repro download` or set data.sha256") from None


def present_text(data: DataConfig, paths: Paths) -> str:
    """The sha256 of the text that the source gives now. What had to be fetched is kept for the next download.

    Raises UserError, Unavailable.
    """
    corpus = Corpus(data, paths.root, paths.scratch / "download")
    corpus.store.hold = False
    for file in corpus.files_of_source():
        _forget_if_changed(file.address, corpus.store)
    digest = hashlib.sha256()
    for document in corpus.documents():
        digest.update(document.text.encode())
    return digest.hexdigest()


def version_of(file: SourceFile) -> str:
    """What tells this content of a file from another: the server's ETag or date, or what it holds.

    Raises UserError for a server that names none, Unavailable.
    """
    if not file.address.startswith(FETCHED):
        return file.fetch().sha256
    if version := retry(lambda: _version(file.address)):
        return version
    raise UserError(f"{file.address} has no ETag or date by which it could be pinned; take data.mode=files")


def _forget_if_changed(address: str, store: Store) -> None:
    """A package's version is immutable, and files of this machine are always read."""
    first = store.recorded(address)
    if first and address.startswith(FETCHED):
        version = retry(lambda: _version(address))
        if not version or version != first.version:
            store.forget(address)


def _version(address: str) -> str:
    with _answer(address) as answer:
        return answer.version


def _answer(address: str) -> AbstractContextManager[Answer]:
    if address.startswith("s3://"):
        from gptcore.buckets import bucket_answer

        return bucket_answer(address, 0, "")
    from gptcore.fetch import http_answer

    return http_answer(address, 0, "")
