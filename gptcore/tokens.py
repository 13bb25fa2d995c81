"""Token files: raw little-endian ids, one file a split, readable by nanoGPT, with what they are beside them.

<|endoftext|> stands before each document, so that a model learns from it how a text begins.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal, TypedDict

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from gptcore.errors import UserError
from gptcore.files import atomic_path, read_json, sha256_file, write_json
from gptcore.tokenizer import Tokenizer

Split = Literal["train", "val"]
PIECE_CHARACTERS = 1 << 20
# A piece may end after a character that is no white space if a space or newline follows: all patterns split there.
CUT = re.compile(r"\S(?=[ \n])")


class SplitMeta(BaseModel):
    """One split; `bytes` are those of its texts in UTF-8, `tokens` count <|endoftext|> too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: int
    documents: int
    bytes: int
    sha256: str
    text_sha256: str


class TokensMeta(BaseModel):
    """meta.json of a folder of token files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1]
    dtype: Literal["uint16", "uint32"]
    vocab_size: int
    tokenizer_sha256: str
    eot_id: int
    train: SplitMeta
    val: SplitMeta

    @property
    def file_dtype(self) -> np.dtype[np.unsignedinteger]:
        return np.dtype(self.dtype).newbyteorder("<")


class Entry(TypedDict):
    """A document in documents.json: `start` is where its <|endoftext|> stands, which `tokens` counts."""

    title: str
    start: int
    tokens: int
    bytes: int


def read_meta(folder: Path) -> TokensMeta:
    """Raises UserError."""
    path = folder / "meta.json"
    try:
        return TokensMeta.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} is missing; the tokenize stage makes it: `dvc repro tokenize`") from None
    except ValidationError as error:
        raise _damaged(path, error.errors()[0]["msg"]) from None


def open_tokens(folder: Path, split: Split) -> "np.memmap[tuple[int], np.dtype[np.unsignedinteger]]":
    """The ids of a split, shape (tokens,), mapped and not loaded."""
    return np.memmap(folder / f"{split}.bin", dtype=read_meta(folder).file_dtype, mode="r")


def document_starts(folder: Path, split: Split) -> npt.NDArray[np.int64]:
    """Where each document of the split starts, in tokens. Raises UserError."""
    path = folder / "documents.json"
    try:
        return np.array([entry["start"] for entry in read_json(path)[split]], np.int64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, str(error)) from None


def verify_tokens(folder: Path) -> TokensMeta:
    """The meta data, after a look at every byte of the token files. Raises UserError that names the damaged file."""
    meta = read_meta(folder)
    expected = {"tokenizer.json": meta.tokenizer_sha256, "train.bin": meta.train.sha256, "val.bin": meta.val.sha256}
    for name, sha256 in expected.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path} is missing; the tokenize stage makes it: `dvc repro tokenize`")
        if (found := sha256_file(path)) != sha256:
            raise _damaged(path, f"its sha256 is {found}, not {sha256} as in meta.json")
    splits: tuple[Split, Split] = ("train", "val")
    if max(int(open_tokens(folder, split).max()) for split in splits) >= meta.vocab_size:
        raise _damaged(folder / "meta.json", f"there are ids beyond its vocab_size {meta.vocab_size:,}")
    return meta


def _damaged(path: Path, what: str) -> UserError:
    # DVC believes a linked file to be whole while it is read-only and its time has not changed, and then restores the
    # damaged one from its cache even under `dvc repro -f`; chmod and touch reach the cached file through the link.
    remedy = f"make it anew: `chmod u+w {path} && touch {path} && dvc repro tokenize`"
    return UserError(f"{path} is damaged: {what}; {remedy}")


def write_tokens(folder: Path, tokenizer: Tokenizer, texts: Iterable[tuple[Split, str, str]]) -> TokensMeta:
    """Write the token files of `texts` (split, title, text): all of them or none; memory holds one text at a time.

    Raises UserError if decoding a text's tokens does not give the text back.
    """
    dtype: Literal["uint16", "uint32"] = "uint16" if tokenizer.n_vocab <= 1 << 16 else "uint32"
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        tokenizer.save(temporary / "tokenizer.json")
        with (temporary / "train.bin").open("wb") as train, (temporary / "val.bin").open("wb") as val:
            writers = {"train": _Writer(train, dtype, tokenizer), "val": _Writer(val, dtype, tokenizer)}
            for split, title, text in texts:
                writers[split].add(title, text)
        meta = TokensMeta(
            format_version=1,
            dtype=dtype,
            vocab_size=tokenizer.n_vocab,
            tokenizer_sha256=sha256_file(temporary / "tokenizer.json"),
            eot_id=tokenizer.eot_id,
            train=writers["train"].meta(),
            val=writers["val"].meta(),
        )
        write_json(temporary / "documents.json", {split: writer.entries for split, writer in writers.items()})
        write_json(temporary / "meta.json", meta.model_dump(mode="json"))
    return meta


def pieces(text: str, characters: int = PIECE_CHARACTERS) -> Iterator[str]:
    """`text` in parts of at least `characters`, cut so that their tokens one after the other are those of the whole."""
    start = 0
    while cut := CUT.search(text, start + characters):
        yield text[start : cut.end()]
        start = cut.end()
    yield text[start:]


@dataclass
class _Writer:
    """One split as it grows."""

    file: IO[bytes]
    dtype: str
    tokenizer: Tokenizer
    tokens: int = 0
    entries: list[Entry] = field(default_factory=list)
    sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    text_sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def add(self, title: str, text: str) -> None:
        start, size = self.tokens, 0
        self._write(np.array([self.tokenizer.eot_id]))
        for piece in pieces(text):
            ids, encoded = self.tokenizer.encode(piece), piece.encode()
            if self.tokenizer.encoding.decode_bytes(ids.tolist()) != encoded:
                raise UserError(f"document {title!r}: decoding its {self.tokenizer.kind} tokens gives another text")
            self._write(ids)
            self.text_sha256.update(encoded)
            size += len(encoded)
        self.entries.append({"title": title, "start": start, "tokens": self.tokens - start, "bytes": size})

    def meta(self) -> SplitMeta:
        return SplitMeta(
            tokens=self.tokens,
            documents=len(self.entries),
            bytes=sum(entry["bytes"] for entry in self.entries),
            sha256=self.sha256.hexdigest(),
            text_sha256=self.text_sha256.hexdigest(),
        )

    def _write(self, ids: npt.NDArray[np.integer]) -> None:
        assert ids.size == 0 or ids.max() < self.tokenizer.n_vocab, "an id beyond the vocabulary would wrap"
        raw = ids.astype(np.dtype(self.dtype).newbyteorder("<")).tobytes()
        self.file.write(raw)
        self.sha256.update(raw)
        self.tokens += len(ids)
