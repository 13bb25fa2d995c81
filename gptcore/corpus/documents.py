"""documents.jsonl: the corpus as all later stages read it, one JSON object {"title", "text"} a line.

No document is longer than DOCUMENT_BYTES, so a reader needs memory for one of them, whatever the corpus weighs.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from gptcore.errors import UserError
from gptcore.files import atomic_path

DOCUMENT_BYTES = 8 << 20  # of text in UTF-8; Shakespeare's complete works, 5 MB, are still one document


class Document(BaseModel):
    """One text of the corpus and what it is called."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    text: str


class Written(NamedTuple):
    """`text_sha256` is that of all texts one after the other; of a corpus of one file, what `sha256sum` prints."""

    documents: int
    bytes: int
    text_sha256: str


class OtherText(UserError):
    """The corpus is not the one that was asked for."""


def document(text: str, title: str = "") -> Document:
    """A text as it is; without a title its first line is the title."""
    if not title:
        head = text[:4096].lstrip()
        title = head.splitlines()[0].strip()[:100] if head else ""
    return Document(title=title, text=text)


def write_documents(path: Path, documents: Iterable[Document], sha256: str) -> Written:
    """Write a corpus whose texts must have the given sha256, any if it is empty.

    Raises OtherText, with the sha256 found, if it is another text; nothing is written then.
    """
    digest, count, size = hashlib.sha256(), 0, 0
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            for each in documents:
                encoded = each.text.encode()
                digest.update(encoded)
                count, size = count + 1, size + len(encoded)
                file.write(each.model_dump_json().encode() + b"\n")
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
        remedy = f"make it anew: `chmod u+w {path} && touch {path} && dvc repro download`"  # as for token files
        raise UserError(f"{path} is damaged: {what}; {remedy}") from None


def end_of_piece(block: bytes) -> int:
    """Where to cut what is longer than DOCUMENT_BYTES: after its last line end, else before a whole character."""
    if end := block.rfind(b"\n", 0, DOCUMENT_BYTES) + 1:
        return end
    end = DOCUMENT_BYTES
    while block[end] & 0xC0 == 0x80:  # inside a character of UTF-8
        end -= 1
    return end
