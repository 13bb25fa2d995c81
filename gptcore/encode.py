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

from gptcore.documents import Document
from gptcore.errors import UserError
from gptcore.pieces import Piece, read_piece
from gptcore.split import SPLITS, Split, draw, split_text
from gptcore.tokenizer import Tokenizer

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
    """Bytes, draw and characters of each document, or part of one, of a piece. Raises UserError."""
    _, documents = read_piece(job.corpus, job.piece)
    encoded = [document.text.encode() for document in documents]
    draws = np.array([draw(text, job.seed) for text in encoded], np.uint64)
    characters = "".join(sorted(set().union(*(document.text for document in documents)))) if job.characters else ""
    return Look(np.array([len(text) for text in encoded], np.int32), draws, characters)


@dataclass(frozen=True)
class EncodeJob:
    """`points`: where each text is split; `continues`: the split whose last document the first text goes on with.

    `folder` holds the tokenizer and takes the result.
    """

    corpus: Path
    piece: Piece
    points: Int32s
    continues: Split | None
    folder: Path


@dataclass(frozen=True)
class Encoded:
    """One split of a piece. A row of `index` is a document: its start in `ids`, its bytes, its number in the piece.

    `continued_bytes` belong to the document before; `digests` are the sha256 of each text, shape (texts, 32).
    """

    ids: npt.NDArray[np.unsignedinteger]
    index: Int64s
    continued_bytes: int
    digests: npt.NDArray[np.uint8]


def encode_piece(job: EncodeJob) -> Path:
    """Where the tokens of a piece lie, for `read_encoded`; made unless they are there, whole. Raises UserError."""
    raw, documents = read_piece(job.corpus, job.piece)
    key = hashlib.sha256(raw + job.points.tobytes() + str(job.continues).encode()).hexdigest()
    path = job.folder / f"{key}.npz"
    if not _is_whole(path):
        tokenizer = _tokenizer(job.folder / "tokenizer.json")
        arrays: dict[str, Any] = {}
        for split, encoded in encode(tokenizer, documents, job.points, job.continues).items():
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
        names = Encoded.__annotations__
        values = {split: {name: arrays[f"{split}.{name}"] for name in names} for split in SPLITS}
    return {
        split: Encoded(**each | {"continued_bytes": int(each["continued_bytes"])}) for split, each in values.items()
    }


def encode(
    tokenizer: Tokenizer, documents: list[Document], points: npt.NDArray[np.integer], continues: Split | None = None
) -> dict[Split, Encoded]:
    """The splits of some documents. Raises UserError if decoding a text's tokens does not give the text back."""
    makers = {split: _Maker(tokenizer) for split in SPLITS}
    for number, (document, at) in enumerate(zip(documents, points, strict=True)):
        for split, text in zip(SPLITS, split_text(document.text.encode(), at), strict=True):
            if text:
                makers[split].add(number, document.title, text, continued=number == 0 and split == continues)
    return {split: maker.made() for split, maker in makers.items()}


class _Maker:
    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer, self.dtype = tokenizer, token_dtype(tokenizer.n_vocab)
        self.tokens, self.continued_bytes = 0, 0
        self.ids: list[npt.NDArray[np.unsignedinteger]] = []
        self.rows: list[tuple[int, int, int]] = []
        self.digests: list[bytes] = []

    def add(self, number: int, title: str, text: bytes, continued: bool) -> None:
        if continued:
            self.continued_bytes = len(text)
        else:
            self.rows.append((self.tokens, len(text), number))
            self._append(np.array([self.tokenizer.eot_id]))
        ids = self.tokenizer.encode(text.decode())
        if not self.tokenizer.gives(ids, text):
            raise UserError(f"document {title!r}: decoding its {self.tokenizer.kind} tokens gives another text")
        self._append(ids)
        self.digests.append(hashlib.sha256(text).digest())

    def made(self) -> Encoded:
        ids = np.concatenate(self.ids) if self.ids else np.empty(0, self.dtype)
        digests = np.frombuffer(b"".join(self.digests), np.uint8).reshape(-1, 32)
        return Encoded(ids, np.array(self.rows, np.int64).reshape(-1, 3), self.continued_bytes, digests)

    def _append(self, ids: npt.NDArray[np.integer]) -> None:
        assert ids.size == 0 or ids.max() < self.tokenizer.n_vocab, "an id beyond the vocabulary would wrap"
        self.ids.append(ids.astype(self.dtype))
        self.tokens += len(ids)


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
