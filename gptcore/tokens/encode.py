"""Encode one piece of a corpus: a pure function, so pieces can be encoded anywhere, in any order, and only once.

Each result is cached in a file whose name depends on all inputs, so a killed and restarted stage finds it.
"""

import hashlib
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gptcore.corpus.documents import Document, content
from gptcore.corpus.split import SPLITS, Split, draw, split_text
from gptcore.errors import UserError
from gptcore.tokens.pieces import Piece, read_piece
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.tokens.written import written

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
SAMPLED_DOCUMENTS, SAMPLED_CHARACTERS = 16, 1_000


@dataclass(frozen=True)
class Look:
    """Statistics from a first pass over a piece.

    `draws` define the shuffled order of the documents; `characters` go into the vocabulary of `char`.
    """

    sizes: Int32s
    draws: npt.NDArray[np.uint64]
    characters: str
    has_turns: bool


@dataclass(frozen=True)
class LookJob:
    corpus: Path
    piece: Piece
    seed: int
    characters: bool


def look(job: LookJob) -> Look:
    """The size in bytes and the draw of each document of a piece, and the piece's characters. Raises UserError."""
    _, documents = read_piece(job.corpus, job.piece)
    encoded = [document.text.encode() for document in documents]
    draws = np.array([draw(text, job.seed) for text in encoded], np.uint64)
    characters = "".join(sorted(set().union(*(document.text for document in documents)))) if job.characters else ""
    has_turns = any(document.turns for document in documents)
    return Look(np.array([len(text) for text in encoded], np.int32), draws, characters, has_turns)


@dataclass(frozen=True)
class EncodeJob:
    """`points`: where each text is split. `folder` contains the tokenizer and receives the result."""

    corpus: Path
    piece: Piece
    points: Int32s
    folder: Path


@dataclass(frozen=True)
class Encoded:
    """One split of a piece. Each row of `index` is a document: its start in `ids`, its bytes, its number in the piece.

    `digests` are the sha256 of each text, shape (documents, 32). Of conversations, bytes count the responses alone, and
    `mask` is 1 where the id after one in `ids` is learned: from the <|endoftext|> before a response to its last id,
    after which its end comes. Of plain texts it is empty: everything is learned.
    """

    ids: npt.NDArray[np.unsignedinteger]
    mask: npt.NDArray[np.uint8]
    index: Int64s
    digests: npt.NDArray[np.uint8]


def encode_piece(job: EncodeJob) -> Path:
    """Encode a piece unless an undamaged result is cached; returns its path, for `read_encoded`. Raises UserError."""
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
            temporary.replace(path)  # needs no fsync: readers verify the checksums
        finally:
            temporary.unlink(missing_ok=True)
    return path


def read_encoded(path: Path) -> dict[Split, Encoded]:
    with np.load(path) as arrays:
        return {
            split: Encoded(**{name: arrays[f"{split}.{name}"] for name in Encoded.__annotations__}) for split in SPLITS
        }


def encode(tokenizer: Tokenizer, documents: list[Document], points: npt.NDArray[np.integer]) -> dict[Split, Encoded]:
    """Encode documents into splits.

    Raises UserError if decoding a text's tokens does not return the text, or if the fast encoder gives other tokens.
    """
    _compare_sample(tokenizer, documents)
    sides = [_sides(document, at) for document, at in zip(documents, points.tolist(), strict=True)]
    encoded = {}
    for side, split in enumerate(SPLITS):
        texts = {number: parts[side] for number, parts in enumerate(sides) if any(parts[side])}
        encoded[split] = _encode_split(tokenizer, documents, texts)
    return encoded


def _sides(document: Document, points: Sequence[int]) -> list[list[bytes]]:
    """The parts of a document (see documents.py) in each split. Raises UserError for a conversation that is cut."""
    parts = document.encoded
    whole = b"".join(parts)
    texts = split_text(whole, points)
    if not document.turns:
        return [[text] for text in texts]
    if whole not in texts:
        raise UserError(f"{document.title}: would be cut: prompts and responses need tokenize.val_split=documents")
    return [parts if text else [] for text in texts]


def _encode_split(tokenizer: Tokenizer, documents: list[Document], texts: dict[int, list[bytes]]) -> Encoded:
    """`texts` maps document numbers to their parts."""
    found = written(tokenizer, [*texts.values()])
    if not found.is_whole:
        lost = (documents[number].title for number, each in texts.items() if not written(tokenizer, [each]).is_whole)
        raise UserError(
            f"document {next(lost, documents[0].title)!r}: decoding its {tokenizer.kind} tokens gives another text"
        )
    ids = found.ids
    assert ids.size == 0 or ids.max() < tokenizer.n_vocab, "an id beyond the vocabulary would wrap"
    sizes = [sum(map(len, learned(each))) for each in texts.values()]
    digests = b"".join(hashlib.sha256(content(each)).digest() for each in texts.values())
    return Encoded(
        ids=ids.astype(token_dtype(tokenizer.n_vocab)),
        mask=found.mask,
        index=np.array(list(zip(found.starts, sizes, texts, strict=True)), np.int64).reshape(-1, 3),
        digests=np.frombuffer(digests, np.uint8).reshape(-1, 32),
    )


def learned(parts: list[bytes]) -> list[bytes]:
    """What is learned of a document: the responses of a conversation, or a plain text."""
    return parts[1::2] if len(parts) > 1 else parts


def _compare_sample(tokenizer: Tokenizer, documents: list[Document]) -> None:
    """Raises UserError if the first characters of some documents have other ids from `encode_documents`."""
    for document in documents[:: -(-len(documents) // SAMPLED_DOCUMENTS)]:
        text = document.text[:SAMPLED_CHARACTERS]
        if not np.array_equal(tokenizer.encode_documents([text.encode()])[1:], tokenizer.encode(text)):
            raise UserError(
                f"document {document.title!r}: gigatoken gives other {tokenizer.kind} tokens than tiktoken; "
                "install the versions of requirements.lock"
            )


def token_dtype(n_vocab: int) -> np.dtype[np.unsignedinteger]:
    """16 bits little-endian, as in nanoGPT, or 32 bits if the vocabulary needs them."""
    return np.dtype("<u2" if n_vocab <= 1 << 16 else "<u4")


def _is_whole(path: Path) -> bool:
    """Whether the file is intact: verifies every byte against the checksums in numpy's archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


@lru_cache(maxsize=1)
def _tokenizer(path: Path) -> Tokenizer:
    return Tokenizer.load(path)
