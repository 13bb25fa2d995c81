"""Token files: raw little-endian ids, readable by nanoGPT, described by meta.json.

<|endoftext|> precedes each document, so that a model learns from it how a text begins. A split is one file,
`train.bin`, or several if it is longer than `FILE_TOKENS`: `train-00000.bin`, ... `train.index.npy` indexes documents.

Of prompts and responses, `train.mask.bin` has a byte for each id: 1 if the id after it is learned (see encode.py).
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from gptcore.config.paths import STREAM
from gptcore.corpus.split import SPLITS, Split
from gptcore.errors import UserError
from gptcore.files import sha256_file

FILE_TOKENS = 1 << 32
INDEX = ("start", "bytes", "line")  # position of its <|endoftext|>, UTF-8 bytes of its text, line in documents.jsonl


class SplitMeta(BaseModel):
    """One split; `bytes` counts the UTF-8 bytes of its texts, of conversations those of the responses. `tokens` counts
    all ids, <|endoftext|> too.

    `files` maps its token files to their sha256. `text_sha256` hashes the concatenated sha256 digests of its texts, so
    it is the same for every tokenizer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: int
    documents: int
    bytes: int
    files: dict[str, str]
    index_sha256: str
    text_sha256: str
    mask_sha256: str | None = None

    @property
    def sha256(self) -> str:
        """A hash of all its tokens, and of which are learned, which identifies the data that a model trains on."""
        return hashlib.sha256("".join([*self.files.values(), self.mask_sha256 or ""]).encode()).hexdigest()


class TokensMeta(BaseModel):
    """meta.json of a folder of token files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[2]
    dtype: Literal["uint16", "uint32"]
    vocab_size: int
    tokenizer_sha256: str
    eot_id: int
    train: SplitMeta
    val: SplitMeta
    test: SplitMeta | None

    @property
    def file_dtype(self) -> np.dtype[np.unsignedinteger]:
        return np.dtype(self.dtype).newbyteorder("<")

    def splits(self) -> dict[Split, SplitMeta]:
        return {split: found for split in SPLITS if (found := getattr(self, split))}


class Tokens(Protocol):
    """Ids that need not be in memory: one mapped file, or several joined."""

    def __len__(self) -> int: ...
    def __getitem__(self, positions: npt.NDArray[np.int64] | slice, /) -> npt.NDArray[np.unsignedinteger]: ...


class TokenFiles:
    """Several mapped files as one sequence of tokens."""

    def __init__(self, files: Sequence[npt.NDArray[np.unsignedinteger]]) -> None:
        self.files = files
        self.ends = np.cumsum([len(file) for file in files])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, positions: npt.NDArray[np.int64] | slice) -> npt.NDArray[np.unsignedinteger]:
        """The ids at `positions`, in the same shape; positions must not be negative."""
        if isinstance(positions, slice):
            positions = np.arange(*positions.indices(len(self)))
        which = np.searchsorted(self.ends, positions, side="right")
        ids = np.empty(positions.shape, self.files[0].dtype)
        for number in np.unique(which):
            file, here = self.files[number], which == number
            ids[here] = file[positions[here] - (self.ends[number] - len(file))]
        return ids


@dataclass(frozen=True)
class PairTokens:
    """The ids of prompts and responses: a sequence like another, and what is learned of it (see encode.py).

    `documents` are the positions at which records start.
    """

    ids: Tokens
    mask: npt.NDArray[np.uint8]
    documents: npt.NDArray[np.int64]
    eot_id: int

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, positions: npt.NDArray[np.int64] | slice) -> npt.NDArray[np.unsignedinteger]:
        return self.ids[positions]


def read_meta(folder: Path) -> TokensMeta:
    """Raises UserError."""
    path = folder / "meta.json"
    try:
        return TokensMeta.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} is missing; the tokenize stage makes it: `dvc repro tokenize`") from None
    except ValidationError as error:
        raise _damaged(path, error.errors()[0]["msg"]) from None


def open_tokens(folder: Path, split: Split) -> Tokens:
    """The ids of a split, shape (tokens,), memory-mapped; of prompts and responses, `PairTokens`.

    Raises UserError if the split does not exist.
    """
    meta = read_meta(folder)
    if split not in meta.splits():
        raise UserError(f"{folder} has no split {split}; set tokenize.test_fraction, then `dvc repro tokenize`")
    files = [np.memmap(folder / name, meta.file_dtype, "r") for name in meta.splits()[split].files]
    ids: Tokens = files[0] if len(files) == 1 else TokenFiles(files)
    if not meta.splits()[split].mask_sha256:
        return ids
    mask = np.memmap(folder / mask_name(split), np.uint8, "r")
    return PairTokens(ids, mask, document_starts(folder, split), meta.eot_id)


def prompt_tokens(tokens: Tokens) -> int:
    """How many ids are not learned."""
    return int((tokens.mask == 0).sum()) if isinstance(tokens, PairTokens) else 0


def mask_name(split: Split) -> str:
    return f"{split}.mask.bin"


def read_index(folder: Path, split: Split) -> npt.NDArray[np.int64]:
    """A row for each document of the split, shape (documents, 3), with the columns of `INDEX`. Raises UserError."""
    path = folder / f"{split}.index.npy"
    try:
        index: npt.NDArray[np.int64] = np.load(path, mmap_mode="r")
        return index
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from None


def document_starts(folder: Path, split: Split) -> npt.NDArray[np.int64]:
    """Where each document of the split starts, in tokens. Raises UserError."""
    return read_index(folder, split)[:, INDEX.index("start")]


def stream_sha256(folder: Path) -> str:
    """A hash that identifies the training stream; empty if there is no stream."""
    return sha256_file(folder / STREAM) if (folder / STREAM).exists() else ""


def verify_tokens(folder: Path) -> TokensMeta:
    """Verify every byte of the token files and return meta.json. Raises UserError, which names the damaged file."""
    meta = read_meta(folder)
    for name, sha256 in expected_files(meta):
        verify_file(folder / name, sha256)
    files = [name for split in meta.splits().values() for name in split.files]
    if max(int(np.memmap(folder / name, meta.file_dtype, "r").max()) for name in files) >= meta.vocab_size:
        raise _damaged(folder / "meta.json", f"there are ids beyond its vocab_size {meta.vocab_size:,}")
    return meta


def verify_file(path: Path, sha256: str) -> None:
    """Raises UserError if a file of a token folder is missing or differs from its sha256 in meta.json."""
    if not path.is_file():
        raise UserError(f"{path} is missing; the tokenize stage makes it: `dvc repro tokenize`")
    if (found := sha256_file(path)) != sha256:
        raise _damaged(path, f"its sha256 is {found}, not {sha256} as in meta.json")


def expected_files(meta: TokensMeta) -> Iterator[tuple[str, str]]:
    """Name and sha256 of each file whose hash is in meta.json."""
    yield "tokenizer.json", meta.tokenizer_sha256
    for split, of_split in meta.splits().items():
        yield from of_split.files.items()
        yield f"{split}.index.npy", of_split.index_sha256
        if of_split.mask_sha256:
            yield mask_name(split), of_split.mask_sha256


def _damaged(path: Path, what: str) -> UserError:
    # DVC assumes that a linked file is intact while it is read-only and its mtime is unchanged. It then restores the
    # damaged file from its cache even under `dvc repro -f`; chmod and touch reach the cached file through the link.
    remedy = f"make it anew: `chmod u+w {path} && touch {path} && dvc repro tokenize`"
    return UserError(f"{path} is damaged: {what}; {remedy}")
