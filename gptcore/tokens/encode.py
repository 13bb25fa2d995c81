"""One piece of a corpus as tokens: a pure function, so pieces can be made anywhere, in any order, and only once.

What is made is kept in a file named by all that shaped it. Killed and started again, the stage finds it there.
"""

import hashlib
import os
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gptcore.corpus.documents import Document
from gptcore.corpus.split import SPLITS, Split, draw, split_text
from gptcore.errors import UserError
from gptcore.tokens.pieces import Piece, read_piece
from gptcore.tokens.tokenizer import END_OF_TEXT, Tokenizer

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Look:
    """A first look at a piece. `draws` shuffle the documents; `characters` are those of char's vocabulary."""

    sizes: Int32s
    draws: npt.NDArray[np.uint64]
    characters: str


@dataclass(frozen=True)
class LookJob:
    corpus: Path
    piece: Piece
    seed: int
    characters: bool


def look(job: LookJob) -> Look:
    """Bytes, draw and characters of each document of a piece. Raises UserError."""
    _, documents = read_piece(job.corpus, job.piece)
    encoded = [document.text.encode() for document in documents]
    draws = np.array([draw(text, job.seed) for text in encoded], np.uint64)
    characters = "".join(sorted(set().union(*(document.text for document in documents)))) if job.characters else ""
    return Look(np.array([len(text) for text in encoded], np.int32), draws, characters)


@dataclass(frozen=True)
class EncodeJob:
    """`points`: where each text is split. `folder` holds the tokenizer and takes the result."""

    corpus: Path
    piece: Piece
    points: Int32s
    folder: Path


@dataclass(frozen=True)
class Encoded:
    """One split of a piece. A row of `index` is a document: its start in `ids`, its bytes, its number in the piece.

    `digests` are the sha256 of each text, shape (documents, 32).
    """

    ids: npt.NDArray[np.unsignedinteger]
    index: Int64s
    digests: npt.NDArray[np.uint8]


def encode_piece(job: EncodeJob) -> Path:
    """Where the tokens of a piece lie, for `read_encoded`; made unless they are there, whole. Raises UserError."""
    raw, documents = read_piece(job.corpus, job.piece)
    path = job.folder / f"{hashlib.sha256(raw + job.points.tobytes()).hexdigest()}.npz"
    if not _is_whole(path):
        arrays: dict[str, Any] = {}
        for split, encoded in encode(_tokenizer(job.folder / "tokenizer.json"), documents, job.points).items():
            arrays |= {f"{split}.{name}": value for name, value in vars(encoded).items()}
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                np.savez(file, **arrays)
            temporary.replace(path)  # not synced as results are: whoever finds it looks at every byte
        finally:
            temporary.unlink(missing_ok=True)
    return path


def read_encoded(path: Path) -> dict[Split, Encoded]:
    with np.load(path) as arrays:
        return {
            split: Encoded(**{name: arrays[f"{split}.{name}"] for name in Encoded.__annotations__}) for split in SPLITS
        }


def encode(tokenizer: Tokenizer, documents: list[Document], points: npt.NDArray[np.integer]) -> dict[Split, Encoded]:
    """The splits of some documents. Raises UserError if decoding a text's tokens does not give the text back."""
    parts = [split_text(document.text.encode(), at) for document, at in zip(documents, points, strict=True)]
    encoded = {}
    for side, split in enumerate(SPLITS):
        texts = {number: part[side] for number, part in enumerate(parts) if part[side]}
        encoded[split] = _encode_split(tokenizer, documents, texts)
    return encoded


def _encode_split(tokenizer: Tokenizer, documents: list[Document], texts: dict[int, bytes]) -> Encoded:
    """`texts` are those of the documents of these numbers, or parts of them."""
    ids = tokenizer.encode_documents([text.decode() for text in texts.values()])
    if not tokenizer.gives(ids, b"".join(END_OF_TEXT.encode() + text for text in texts.values())):
        titles = [documents[number].title for number, text in texts.items() if _is_lost(tokenizer, text)]
        raise UserError(f"document {titles[0]!r}: decoding its {tokenizer.kind} tokens gives another text")
    assert ids.size == 0 or ids.max() < tokenizer.n_vocab, "an id beyond the vocabulary would wrap"
    rows = zip(np.flatnonzero(ids == tokenizer.eot_id), map(len, texts.values()), texts, strict=True)
    digests = b"".join(hashlib.sha256(text).digest() for text in texts.values())
    return Encoded(
        ids=ids.astype(token_dtype(tokenizer.n_vocab)),
        index=np.array(list(rows), np.int64).reshape(-1, 3),
        digests=np.frombuffer(digests, np.uint8).reshape(-1, 32),
    )


def _is_lost(tokenizer: Tokenizer, text: bytes) -> bool:
    return not tokenizer.gives(tokenizer.encode(text.decode()), text)


def token_dtype(n_vocab: int) -> np.dtype[np.unsignedinteger]:
    """nanoGPT's 16 bits, little-endian, or 32 where they do not hold every id."""
    return np.dtype("<u2" if n_vocab <= 1 << 16 else "<u4")


def _is_whole(path: Path) -> bool:
    """Every byte is looked at: numpy's archive carries checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


@lru_cache(maxsize=1)
def _tokenizer(path: Path) -> Tokenizer:
    return Tokenizer.load(path)
