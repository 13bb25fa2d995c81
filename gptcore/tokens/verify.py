"""Verify every hash of the corpus and its tokens."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from gptcore.config.paths import Paths
from gptcore.errors import UserError
from gptcore.files import SUMS, read_sums, verify_sum
from gptcore.tokens.token_files import expected_files, read_meta, verify_file


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


def checks(paths: Paths) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Each hashed file of data/raw and data/tokens, with a function that verifies all of it and raises UserError.

    Raises UserError if a file that lists hashes cannot be read.
    """
    try:
        sums = read_sums(paths.raw)
    except FileNotFoundError:
        raise UserError(f"{paths.raw / SUMS} is missing; the download stage makes it: `dvc repro download`") from None
    except ValueError:
        raise _damaged(paths.raw / SUMS, "it is no list of sums") from None
    for name, sha256 in sums.items():
        yield paths.raw / name, partial(_verify_raw, paths.raw / name, sha256)
    for name, sha256 in expected_files(read_meta(paths.tokens)):
        yield paths.tokens / name, partial(verify_file, paths.tokens / name, sha256)


def _verify_raw(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise UserError(f"{path} is missing; the download stage makes it: `dvc repro download`")
    verify_sum(path, sha256)


def _damaged(path: Path, what: str) -> UserError:
    remedy = f"make it anew: `chmod u+w {path} && touch {path} && dvc repro download`"  # see token_files._damaged
    return UserError(f"{path} is damaged: {what}; {remedy}")
