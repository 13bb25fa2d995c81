"""Records of CSV files; cells are separated by a comma, semicolon or tab, which the first line tells, or as set."""

import csv
import io
from collections.abc import Iterator
from itertools import chain

from gptcore.corpus.formats.other_content import not_utf8
from gptcore.corpus.formats.template import no_field
from gptcore.errors import UserError

DELIMITERS = (",", ";", "\t")
CELL_CHARACTERS = 64 << 20  # a longer cell or line means that the file has another format


def csv_records(
    file: io.BufferedReader, address: str, fields: list[str], delimiter: str = ""
) -> Iterator[dict[str, str]]:
    """Raises UserError, also if two columns have the name of one of `fields`."""
    csv.field_size_limit(CELL_CHARACTERS)
    number = 0
    try:
        text = io.TextIOWrapper(file, "utf-8-sig", newline="")
        head: list[str] = []
        delimiter = delimiter or _delimiter(text, head, fields)
        rows = _rows(chain(head, _lines(text)), delimiter)
        names = next(rows, [])
        for field in fields if names else []:
            if names.count(field) != 1:
                raise two_columns(field, address) if field in names else no_field(field, "", names, address)
        for number, row in enumerate(rows, start=1):
            if len(row) != len(names):
                raise UserError(f"{address}: record {number:,}: has not as many cells as the first line has names")
            yield dict(zip(names, row, strict=True))
    except UnicodeDecodeError as error:
        raise not_utf8(f"{address}: after record {number:,}", error) from None
    except csv.Error as error:
        raise UserError(f"{address}: record {number + 1:,}: is no CSV: {error}") from None


def two_columns(field: str, address: str) -> UserError:
    return UserError(f"{address}: has two columns named {field}; rename or remove one of them")


def _delimiter(text: io.TextIOWrapper, head: list[str], fields: list[str]) -> str:
    """The first delimiter that gives names among which all `fields` are, else the one that gives most names.

    Appends the lines that it reads to `head`.
    """

    def again() -> Iterator[str]:
        yield from head
        for line in _lines(text):
            head.append(line)
            yield line

    names = {}
    for delimiter in DELIMITERS:
        try:
            names[delimiter] = next(_rows(again(), delimiter), [])
        except csv.Error:  # of quotes that end where this delimiter does not follow
            continue
        if fields and set(fields) <= set(names[delimiter]):
            return delimiter
    return max(names, key=lambda each: len(names[each])) if names else DELIMITERS[0]


def _rows(lines: Iterator[str], delimiter: str) -> Iterator[list[str]]:
    return (row for row in csv.reader(lines, delimiter=delimiter, strict=True) if row)


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(CELL_CHARACTERS):
        if len(line) == CELL_CHARACTERS:
            raise csv.Error(f"a line is longer than {CELL_CHARACTERS:,} characters")
        yield line
