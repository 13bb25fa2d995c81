"""Every hash of the corpus and its tokens, looked at again."""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from gptcore.documents import read_documents
from gptcore.errors import UserError
from gptcore.files import sha256_file
from gptcore.params import Paths
from gptcore.split import TokenizerChoice
from gptcore.tokens import expected_files, read_meta, verify_file
from gptcore.vocabulary import vocabulary_files


class SourceFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    size: int
    sha256: str


class Sources(BaseModel):
    """sources.json of data/raw."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text_sha256: str
    files: list[SourceFile]


def read_sources(raw: Path) -> Sources:
    """Raises UserError."""
    path = raw / "sources.json"
    try:
        return Sources.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} is missing; the download stage makes it: `dvc repro download`") from None
    except ValidationError as error:
        raise _damaged(path, error.errors()[0]["msg"]) from None


def checks(paths: Paths, choice: TokenizerChoice) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Each file of data/raw and data/tokens that has a hash, and what reads every byte of it and raises UserError.

    Raises UserError if the file with the hashes cannot be read.
    """
    text_sha256 = read_sources(paths.raw).text_sha256
    corpus = paths.raw / "documents.jsonl"
    yield corpus, partial(_check_corpus, corpus, text_sha256)
    for name, sha256 in vocabulary_files(choice).items():
        yield paths.raw / name, partial(_check_raw, paths.raw / name, sha256)
    for name, sha256 in expected_files(read_meta(paths.tokens)):
        yield paths.tokens / name, partial(verify_file, paths.tokens / name, sha256)


def _check_corpus(corpus: Path, text_sha256: str) -> None:
    digest = hashlib.sha256()
    for document in read_documents(corpus):
        digest.update(document.text.encode())
    if (found := digest.hexdigest()) != text_sha256:
        raise _damaged(corpus, f"its texts have the sha256 {found}, not {text_sha256} as in sources.json")


def _check_raw(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise UserError(f"{path} is missing; the download stage fetches it: `dvc repro download`")
    if (found := sha256_file(path)) != sha256:
        raise _damaged(path, f"its sha256 is {found}, not {sha256}")


def _damaged(path: Path, what: str) -> UserError:
    remedy = f"make it anew: `chmod u+w {path} && touch {path} && dvc repro download`"  # as for token files
    return UserError(f"{path} is damaged: {what}; {remedy}")
