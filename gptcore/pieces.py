"""A corpus file in pieces of a few megabytes, so that memory stays small whatever the file and its documents.

A piece is a range of bytes: whole lines, or a part of a document that is longer than a piece. Such a document is cut
where every tokenizer splits anyway, so that the tokens of its parts, one after the other, are those of the whole.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from gptcore.documents import Document
from gptcore.errors import UserError

PIECE_BYTES = 1 << 22
LOOK_BYTES = 1 << 16
TEXT = b'"text":"'
# After a character that is no white space, before a space; or after a letter or digit, before a newline (punctuation
# and newlines are one token in some vocabularies). All as JSON writes it, and no escape may reach up to the cut.
CUT = re.compile(
    rb"(?<=[^\\]{6})(?:(?:[!-\[\]-~]|[\xc3-\xdf][\x80-\xbf]|[\xe4-\xe9][\x80-\xbf]{2})(?= )"
    rb"|(?:[0-9A-Za-z]|[\xe4-\xe9][\x80-\xbf]{2})(?=\\n))"
)


@dataclass(frozen=True)
class Piece:
    """Bytes `start` to `end` of a corpus file. `inside`: they begin within a text; `goes_on`: they end within one."""

    start: int
    end: int
    inside: bool
    goes_on: bool


def pieces(corpus: Path, piece_bytes: int = PIECE_BYTES) -> Iterator[Piece]:
    """The pieces of a corpus file, in order, of about `piece_bytes` each. Raises UserError if there is no such file."""
    if not corpus.is_file():
        raise UserError(f"{corpus} is missing; the download stage makes it: `dvc repro download`")
    size, start, inside = corpus.stat().st_size, 0, False
    with corpus.open("rb") as file:
        while start < size:
            file.seek(start)
            block = file.read(piece_bytes)
            length, goes_on = block.rfind(b"\n") + 1, False
            if not length:
                length, goes_on = _cut(file, block, inside)
            yield Piece(start, start + length, inside, goes_on)
            start, inside = start + length, goes_on


def read_piece(corpus: Path, piece: Piece) -> tuple[bytes, list[Document]]:
    """The bytes of a piece, and its documents, the first and last perhaps in part. Raises UserError."""
    with corpus.open("rb") as file:
        file.seek(piece.start)
        raw = file.read(piece.end - piece.start)
    lines = raw.removesuffix(b"\n").split(b"\n")
    if piece.inside:
        lines[0] = b'{"title":"",' + TEXT + lines[0]
    if piece.goes_on:
        lines[-1] += b'"}'
    try:
        return raw, [Document.model_validate_json(line) for line in lines]
    except ValidationError as error:
        where, what = f"between bytes {piece.start:,} and {piece.end:,}", error.errors()[0]["msg"]
        remedy = f"make it anew: `chmod u+w {corpus} && touch {corpus} && dvc repro download`"  # as for token files
        raise UserError(f"{corpus} is damaged {where}: {what}; {remedy}") from None


def _cut(file: IO[bytes], block: bytes, inside: bool) -> tuple[int, bool]:
    """Where to cut a block without a line end, and whether the text goes on there; reads on where there is no place.

    The place depends on the text alone, not on the title, so that equal texts are equal in all their parts.
    """
    block += file.read(0 if inside else block.find(TEXT) + len(TEXT))
    searched = max(len(block) - LOOK_BYTES, 0)
    while b"\n" not in block:
        if found := [*CUT.finditer(block, searched)]:
            return found[-1].end(), True
        more = file.read(LOOK_BYTES)
        if not more:
            return len(block), False
        searched, block = len(block) - 8, block + more
    return block.index(b"\n") + 1, False
