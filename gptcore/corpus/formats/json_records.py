"""Records of JSON files: objects one after another, as in JSON Lines, or all in one array, on any number of lines.

Memory holds one record and one block of text, whatever the file size.
"""

import io
import json
import re
from collections.abc import Iterator
from typing import Any

from gptcore.corpus.formats.other_content import not_utf8
from gptcore.errors import UserError

RECORD_CHARACTERS = 64 << 20  # a longer record means that the file has another format
BLOCK_CHARACTERS = 1 << 18
LONGEST_TOKEN = 16  # characters of the longest token outside of strings and numbers, such as -Infinity
SPACE = re.compile(r"[ \t\r\n]*")


def json_records(file: io.BufferedReader, address: str, fields: list[str]) -> Iterator[dict[str, Any]]:
    """Raises UserError, also for a record that names one of `fields` twice."""
    values = _Values(file, address, fields)
    if values.next_character() == "[":
        yield from values.array()
    while values.next_character():
        yield values.record()


class _Values:
    """The values of a text, decoded one at a time from a window that moves along the text."""

    def __init__(self, file: io.BufferedReader, address: str, fields: list[str]) -> None:
        self.text, self.address = io.TextIOWrapper(file, "utf-8-sig", newline=""), address
        self.names = {name for field in fields for name in (field, *field.split("."))}
        # an integer is never a text, so its value does not matter; int refuses more than 4,300 digits
        self.decoder = json.JSONDecoder(parse_int=len, object_pairs_hook=self._object)
        self.window, self.at, self.number = "", 0, 0

    def array(self) -> Iterator[dict[str, Any]]:
        """The records of an array that begins here; nothing may follow it."""
        self.at += 1
        following = self.next_character()
        while following != "]":
            yield self.record()
            following = self.next_character()
            if following not in (",", "]"):
                raise self._error("is the last one that is whole: the array has no end; the file was cut short"
                                  if not following else f"is followed by {following!r}, not by a comma")  # fmt: skip
            self.at += following == ","
        self.at += 1
        if self.next_character():
            raise self._error("is the last one of the array, but more follows the array; JSON Lines has no brackets")

    def record(self) -> dict[str, Any]:
        """The next value, which must be an object."""
        self.next_character()
        self.number += 1
        try:
            value = self._value()
        except RecursionError:
            raise self._error("is no JSON that can be read: it is nested too deeply") from None
        if not isinstance(value, dict):
            raise self._error("is no JSON object; every record must be one")
        return value

    def next_character(self) -> str:
        """Move to the next character that is not white space and return it; empty at the end."""
        while True:
            space = SPACE.match(self.window, self.at)
            assert space, "it matches nothing as well"
            self.at = space.end()
            if self.at < len(self.window) or not self._more():
                return self.window[self.at : self.at + 1]

    def _value(self) -> Any:
        while True:
            try:
                value, self.at = self.decoder.raw_decode(self.window, self.at)
                return value
            except json.JSONDecodeError as error:
                cut = error.pos > len(self.window) - LONGEST_TOKEN or error.msg.startswith("Unterminated string")
                what = f"{error.msg.removesuffix(' at')}, at character {error.pos - self.at:,}"
                if not (cut and self._more()):
                    raise self._error(f"is no JSON: {what}") from None

    def _more(self) -> bool:
        """Extend the window; doubling it for a long record keeps repeated decoding linear in the record's length."""
        self.window, self.at = self.window[self.at :], 0
        if len(self.window) > RECORD_CHARACTERS:
            raise self._error(f"is longer than {RECORD_CHARACTERS:,} characters; is the file JSON Lines, or one array?")
        try:
            more = self.text.read(max(len(self.window), BLOCK_CHARACTERS))
        except UnicodeDecodeError as error:
            raise not_utf8(self.address, error) from None
        self.window += more
        return bool(more)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            if doubled := [name for name in self.names if names.count(name) > 1]:
                raise self._error(f"has the field {doubled[0]} twice; which one is meant?")
        return found

    def _error(self, what: str) -> UserError:
        return UserError(f"{self.address}: record {self.number:,}: {what}")
