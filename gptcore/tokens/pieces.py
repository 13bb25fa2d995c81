"""Cut a corpus file into pieces of a few megabytes at line ends, so that memory use does not grow with the file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from gptcore.corpus.documents import Document
from gptcore.errors import UserError

PIECE_BYTES = 1 << 21  # a document may be longer, up to the limit in documents.py


@dataclass(frozen=True)
class Piece:
    """Bytes `start` to `end` of a corpus file."""

    start: int
    end: int


def pieces(corpus: Path, piece_bytes: int = PIECE_BYTES) -> Iterator[Piece]:
    """The pieces of a corpus file, in order, of about `piece_bytes` each. Raises UserError if the file is missing."""
    if not corpus.is_file():
        raise UserError(f"{corpus} is missing; the download stage makes it: `dvc repro download`")
    size, start = corpus.stat().st_size, 0
    with corpus.open("rb") as file:
        while start < size:
            file.seek(min(start + piece_bytes, size) - 1)
            file.readline()
            yield Piece(start, file.tell())
            start = file.tell()


def read_piece(corpus: Path, piece: Piece) -> tuple[bytes, list[Document]]:
    """The bytes of a piece, and its documents. Raises UserError."""
    with corpus.open("rb") as file:
        file.seek(piece.start)
        raw = file.read(piece.end - piece.start)
    try:
        return raw, [Document.model_validate_json(line) for line in raw.removesuffix(b"\n").split(b"\n")]
    except ValidationError as error:
        where, what = f"between bytes {piece.start:,} and {piece.end:,}", error.errors()[0]["msg"]
        # see token_files._damaged
        remedy = f"make it anew: `chmod u+w {corpus} && touch {corpus} && dvc repro download`"
        raise UserError(f"{corpus} is damaged {where}: {what}; {remedy}") from None
