"""Read texts one at a time from text, JSON, Parquet and CSV files, plain or compressed with gzip or zstd.

Memory holds one record or one piece of a text, whatever the file size.
"""

import errno
import io
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

from gptcore.corpus.documents import DOCUMENT_BYTES, end_of_piece
from gptcore.corpus.formats.csv_records import csv_records
from gptcore.corpus.formats.json_records import json_records
from gptcore.corpus.formats.other_content import HEAD_BYTES, not_utf8, refuse_other_content
from gptcore.corpus.formats.pairs import Pairs, is_pair, string
from gptcore.corpus.formats.parquet_records import parquet_records
from gptcore.corpus.formats.template import Template
from gptcore.corpus.formats.unpack import PACKED_SUFFIXES, unpacked
from gptcore.corpus.formats.yaml_records import yaml_records
from gptcore.errors import UserError

Format = Literal["text", "jsonl", "parquet", "csv", "yaml"]

SUFFIXES: dict[str, Format] = {
    ".txt": "text", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet", ".csv": "csv",
    ".tsv": "csv",
}  # fmt: skip


class Text(NamedTuple):
    """A text of a source; `where` names the file and the record, for error messages. For `turns` see Document."""

    text: str
    language: str | None
    where: str
    title: str = ""
    turns: tuple[int, ...] = ()


def known_format(name: str) -> Format | None:
    """The format for the suffix of a file name; None if the suffix is unknown."""
    path = PurePosixPath(name.lower())
    return SUFFIXES.get(PurePosixPath(path.stem).suffix if path.suffix in PACKED_SUFFIXES else path.suffix)


def read_texts(
    path: Path, address: str, form: Format, template: str | Pairs, language_field: str, delimiter: str = ""
) -> Iterator[Text]:
    """The texts of one file. `template` names the text's field, or makes a text or a conversation of fields.

    `delimiter` separates the cells of CSV; empty means that the first line tells. Raises UserError, which names
    `address` and the record.
    """
    with _opened(path, address, form) as file:
        if form == "text" and isinstance(template, Pairs):
            raise UserError(f"{address}: holds no records, and data.pairs takes prompts and responses from records")
        if form == "text":
            yield from (Text(piece, None, address) for piece in _text_pieces(file, address))
            return
        made = template if isinstance(template, Pairs) else Template(template)
        wanted = [*made.fields, language_field] if language_field and made.fields else made.fields
        for number, record in enumerate(_records(file, address, form, wanted, delimiter), start=1):
            where = f"{address}: record {number:,}"
            language = string(record, language_field, where) if language_field else None
            if isinstance(made, Pairs):
                yield _conversation(made.turns(record, where), language, where)
                continue
            values = {field: string(record, field, where) for field in made.fields}
            whole = made.fill(values)
            yield from (Text(piece, language, where) for piece in _pieces(whole, where))


def begins_with_pair(path: Path, address: str, form: Format, text: str, delimiter: str = "") -> bool:
    """Whether the first record of a file has no field `text`, but a prompt and a response."""
    if form == "text":
        return False
    try:
        with _opened(path, address, form) as file, closing(_records(file, address, form, [], delimiter)) as records:
            first = next(records, {})
    except UserError:  # `read_texts` tells it, or knows more of the file than that it has records
        return False
    return text not in first and is_pair(first)


@contextmanager
def _opened(path: Path, address: str, form: Format) -> Iterator[io.BufferedReader]:
    """The unpacked content. Raises UserError."""
    try:
        with path.open("rb") as packed, unpacked(packed, address) as file:
            refuse_other_content(file.peek(HEAD_BYTES), address, table=form == "parquet")
            yield file
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # unpacking Parquet needs a temporary file
            raise
        raise UserError(f"{address}: cannot be read: {error.strerror or error}") from None


def _records(
    file: io.BufferedReader, address: str, form: Format, fields: list[str], delimiter: str
) -> Generator[dict[str, Any], None, None]:
    if form == "csv":
        yield from csv_records(file, address, fields, delimiter)
    else:
        yield from {"parquet": parquet_records, "yaml": yaml_records}.get(form, json_records)(file, address, fields)


def _conversation(turns: list[str], language: str | None, where: str) -> Text:
    """Without a last prompt that has no response. Its title says where it is from."""
    said = turns[: len(turns) // 2 * 2] or turns
    text = "".join(said)
    if len(text.encode()) > DOCUMENT_BYTES:
        raise UserError(f"{where}: is longer than {DOCUMENT_BYTES:,} bytes, too long for a conversation")
    return Text(text, language, where, where, tuple(map(len, said)))


def _text_pieces(file: io.BufferedReader, address: str) -> Iterator[str]:
    """A text of up to DOCUMENT_BYTES as a whole, even an empty one, a longer one in pieces cut at line ends."""
    done, block = 0, file.read(DOCUMENT_BYTES + 1)
    while True:
        end = end_of_piece(block) if len(block) > DOCUMENT_BYTES else len(block)
        try:
            yield block[:end].decode()
        except UnicodeDecodeError as error:
            raise not_utf8(address, error, done) from None
        if end == len(block):
            return
        done, block = done + end, block[end:] + file.read(end)


def _pieces(text: str, where: str) -> Iterator[str]:
    try:
        block = text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{where}: is no text: it holds half a character, {error.object[error.start]!r}") from None
    while len(block) > DOCUMENT_BYTES:
        end = end_of_piece(block)
        yield block[:end].decode()
        block, text = block[end:], ""
    yield text or block.decode()
