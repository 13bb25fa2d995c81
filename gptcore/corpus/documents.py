"""documents.jsonl: the corpus as all later stages read it, one JSON object {"title", "text"} per line.

No document is longer than DOCUMENT_BYTES, so a reader needs memory for one document, whatever the corpus size.
"""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from gptcore.errors import UserError
from gptcore.files import atomic_path

DOCUMENT_BYTES = 8 << 20  # of text in UTF-8; Shakespeare's complete works, 5 MB, are still one document


class Document(BaseModel):
    """One text of the corpus and its title.

    Of a conversation, `turns` are the lengths in characters of its prompts and responses, in turn; the text joins them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    text: str
    turns: tuple[int, ...] = ()

    @property
    def parts(self) -> list[str]:
        """The turns of a conversation; a plain text is its only part."""
        if not self.turns:
            return [self.text]
        ends = accumulate(self.turns)
        return [self.text[end - length : end] for length, end in zip(self.turns, ends, strict=True)]

    @property
    def encoded(self) -> list[bytes]:
        """The parts in UTF-8."""
        return [part.encode() for part in self.parts]


class Written(NamedTuple):
    """`text_sha256` hashes the concatenation of all texts; for a corpus of one file it is what `sha256sum` prints."""

    documents: int
    bytes: int
    text_sha256: str


class OtherText(UserError):
    """The corpus does not have the requested sha256."""


def document(text: str, title: str = "", turns: tuple[int, ...] = ()) -> Document:
    """A document with the unmodified text; the title defaults to the text's first line."""
    if not title:
        head = text[:4096].lstrip()
        title = head.splitlines()[0].strip()[:100] if head else ""
    return Document(title=title, text=text, turns=turns)


def content(parts: Iterable[bytes]) -> bytes:
    """What digests are of: a plain text, its only part, or a conversation's turns, which are no plain text."""
    return b"\xff".join(parts)  # a byte that is in no UTF-8


def write_documents(path: Path, documents: Iterable[Document], sha256: str) -> Written:
    """Write a corpus whose texts must have the given sha256; an empty sha256 accepts any text.

    If the digest differs, writes nothing and raises OtherText with the digest found.
    """
    digest, count, size = hashlib.sha256(), 0, 0
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            for each in documents:
                parts = each.encoded
                digest.update(content(parts))
                count, size = count + 1, size + sum(map(len, parts))
                file.write(each.model_dump_json(exclude_defaults=True).encode() + b"\n")
        if sha256 and digest.hexdigest() != sha256:
            raise OtherText(
                f"the text of data.source ({count:,} documents, {size:,} bytes) has the sha256 "
                f"{digest.hexdigest()}, not {sha256}; if it is the text you want, set data.sha256 to the former"
            )
    return Written(count, size, digest.hexdigest())


def read_documents(path: Path) -> Iterator[Document]:
    """The documents of a corpus file, one at a time. Raises UserError."""
    try:
        with path.open("rb") as file:
            for line in file:
                yield Document.model_validate_json(line)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; the download stage makes it: `dvc repro download`") from None
    except ValidationError as error:
        what = error.errors()[0]["msg"]
        remedy = f"make it anew: `chmod u+w {path} && touch {path} && dvc repro download`"  # see token_files._damaged
        raise UserError(f"{path} is damaged: {what}; {remedy}") from None


def end_of_piece(block: bytes) -> int:
    """Where to cut a block longer than DOCUMENT_BYTES: after the last line end, else between two characters."""
    if end := block.rfind(b"\n", 0, DOCUMENT_BYTES) + 1:
        return end
    end = DOCUMENT_BYTES
    while block[end] & 0xC0 == 0x80:  # inside a UTF-8 character
        end -= 1
    return end
