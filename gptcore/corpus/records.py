"""Read texts one at a time from text, JSON Lines, Parquet and CSV files, plain or compressed with gzip or zstd.

Memory holds one record or one piece of a text, whatever the file size.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

from gptcore.corpus.documents import DOCUMENT_BYTES, end_of_piece
from gptcore.corpus.unpack import PACKED_SUFFIXES, seekable, unpacked
from gptcore.errors import UserError

Format = Literal["text", "jsonl", "parquet", "csv"]

SUFFIXES: dict[str, Format] = {
    ".txt": "text", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet", ".csv": "csv",
}  # fmt: skip
RECORD_BYTES = 64 << 20  # a longer line or field means that the file has another format
PARQUET_BATCH_ROWS = 64


class Text(NamedTuple):
    """A text of a source; `where` names the file and the record, for error messages."""

    text: str
    language: str | None
    where: str
    title: str = ""


def known_format(name: str) -> Format | None:
    """The format for the suffix of a file name; None if the suffix is unknown."""
    path = PurePosixPath(name.lower())
    return SUFFIXES.get(PurePosixPath(path.stem).suffix if path.suffix in PACKED_SUFFIXES else path.suffix)


def read_texts(path: Path, address: str, form: Format, template: str, language_field: str) -> Iterator[Text]:
    """The texts of one file. `template` is the name of the text's field, or a format string such as `{a}\\n{b}`.

    Raises UserError, which names `address` and the record.
    """
    with path.open("rb") as packed, unpacked(packed, address) as file:
        if form == "text":
            for piece in _text_pieces(file, address):
                yield Text(piece, None, address)
            return
        fields = template_fields(template)
        wanted = [*fields, language_field] if language_field else fields
        for number, record in enumerate(READERS[form](file, address, wanted), start=1):
            where = f"{address}: record {number:,}"
            language = _string(record, language_field, where) if language_field else None
            values = {field: _string(record, field, where) for field in fields}
            whole = template.format_map(values) if "{" in template else values[template]
            yield from (Text(piece, language, where) for piece in _pieces(whole, where))


def template_fields(template: str) -> list[str]:
    """The fields that a template names. Raises ValueError if the template is invalid."""
    if "{" not in template:
        return [template]
    import string

    fields = [name for _, name, form, conversion in string.Formatter().parse(template) if name is not None]
    if not all(name.isidentifier() for name in fields):
        raise ValueError("must be a field's name, or a text with fields such as {question}")
    return list(dict.fromkeys(fields))


def _text_pieces(file: io.BufferedReader, address: str) -> Iterator[str]:
    """A text of up to DOCUMENT_BYTES as a whole, a longer one in pieces cut at line ends."""
    _refuse_binary(file, address)
    done, rest = 0, b""
    while block := rest + file.read(DOCUMENT_BYTES + 1 - len(rest)):
        end = end_of_piece(block) if len(block) > DOCUMENT_BYTES else len(block)
        try:
            yield block[:end].decode()
        except UnicodeDecodeError as error:
            raise UserError(
                f"{address}: is not UTF-8 text: byte {done + error.start:,} is {block[error.start]:#04x}"
            ) from None
        done, rest = done + end, block[end:]


def _refuse_binary(file: io.BufferedReader, address: str) -> None:
    if b"\0" in file.peek(io.DEFAULT_BUFFER_SIZE):
        raise UserError(f"{address}: is no text, it holds zero bytes; set data.format if it is a table")


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


def _jsonl_records(file: io.BufferedReader, address: str, fields: list[str]) -> Iterator[dict[str, Any]]:
    _refuse_binary(file, address)
    number = 0
    while line := file.readline(RECORD_BYTES + 1):
        number += 1
        where = f"{address}: record {number:,}"
        if len(line) > RECORD_BYTES:
            raise UserError(f"{where}: is longer than {RECORD_BYTES:,} bytes; JSON Lines has one object a line")
        try:
            record = json.loads(line.decode())
        except UnicodeDecodeError as error:
            raise UserError(f"{where}: is not UTF-8: byte {error.start:,} is {line[error.start]:#04x}") from None
        except json.JSONDecodeError as error:
            raise UserError(f"{where}: is no JSON: {error.msg} at character {error.pos:,}") from None
        if not isinstance(record, dict):
            raise UserError(f"{where}: is no JSON object; JSON Lines has one object a line")
        yield record


def _csv_records(file: io.BufferedReader, address: str, fields: list[str]) -> Iterator[dict[str, Any]]:
    _refuse_binary(file, address)
    csv.field_size_limit(RECORD_BYTES)
    number = 0
    try:
        for record in csv.DictReader(io.TextIOWrapper(file, "utf-8-sig", newline=""), strict=True):
            number += 1
            if None in record or None in record.values():
                raise UserError(f"{address}: record {number:,}: has not as many cells as the first line has names")
            yield record
    except UnicodeDecodeError as error:
        raise UserError(f"{address}: after record {number:,}: is not UTF-8: {error.reason}") from None
    except csv.Error as error:
        raise UserError(f"{address}: record {number + 1:,}: is no CSV: {error}") from None


def _parquet_records(file: io.BufferedReader, address: str, fields: list[str]) -> Iterator[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with seekable(file) as source:
            # read single pages, not whole row groups: some writers put the whole file into one row group
            table = pyarrow.parquet.ParquetFile(
                source, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True
            )
            names = table.schema_arrow.names
            _require(fields, names, address)
            for batch in table.iter_batches(PARQUET_BATCH_ROWS, columns=fields):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"{address}: is no Parquet that can be read: {' '.join(str(error).split())}") from None


READERS: dict[Format, Callable[[io.BufferedReader, str, list[str]], Iterator[dict[str, Any]]]] = {
    "jsonl": _jsonl_records, "csv": _csv_records, "parquet": _parquet_records,
}  # fmt: skip


def _require(fields: list[str], names: list[str], where: str) -> None:
    for field in fields:
        if field not in names:
            raise UserError(f"{where}: has no field {field}; it has {', '.join(names)}; say in data.text what to take")


def _string(record: dict[str, Any], field: str, where: str) -> str:
    """The text of a field; null becomes the empty string."""
    _require([field], list(record), where)
    value = record[field]
    if value is None or isinstance(value, str):
        return value or ""
    raise UserError(f"{where}: the field {field} is no text but {type(value).__name__}")
