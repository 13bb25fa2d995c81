"""What a source holds but is not read: hidden and excluded names, and files whose suffix says no format."""

import os
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from gptcore.corpus.formats.records import known_format

HIDDEN, UNKNOWN, LINKED = "hidden or in data.exclude", "with a suffix of no known format", "linked twice"
MAGIC = re.compile(r"[*?[]")  # what makes a pattern of a name
NAMED_EACH = 3


class LeftOut:
    """Decides what is left out of folders, prefixes and patterns, and remembers it, to be counted and said."""

    def __init__(self, exclude: tuple[str, ...]) -> None:
        self.exclude = exclude
        self.found: dict[str, set[str]] = {HIDDEN: set(), UNKNOWN: set(), LINKED: set()}

    def __len__(self) -> int:
        return sum(map(len, self.found.values()))

    def __str__(self) -> str:
        return "; ".join(f"{len(each):,} {why}: {_some(each)}" for why, each in self.found.items() if each)

    def hides(self, name: str, pattern: Sequence[str] = ()) -> bool:
        """Whether a file or folder is hidden or excluded, unless a part of `pattern` names it."""
        if not name.startswith(".") and not any(fnmatchcase(name, each) for each in self.exclude):
            return False
        return not any(name == part or (part.startswith(".") and fnmatchcase(name, part)) for part in pattern)

    def takes(self, names: Sequence[str], pattern: Sequence[str] = ()) -> bool:
        """Whether the file at the path `names` below a source is read; without a pattern its suffix must be known."""
        for depth, name in enumerate(names, start=1):
            if self.hides(name, pattern):
                self.found[HIDDEN].add("/".join(names[:depth]))
                return False
        if not pattern and not known_format(names[-1]):
            self.found[UNKNOWN].add("/".join(names))
            return False
        return True

    def takes_object(self, source: str, address: str) -> bool:
        """Whether the object at `address` is read; `source` is the object itself, a prefix or a pattern."""
        if address == source:
            return True
        folder = f"{source.rstrip('/')}/"
        if address.startswith(folder):
            return self.takes(address.removeprefix(folder).split("/"))
        fixed = len(MAGIC.split(source)[0].rpartition("/")[0]) + 1
        return self.takes(address[fixed:].split("/"), source[fixed:].split("/"))


def _some(names: set[str]) -> str:
    first = sorted(names)[:NAMED_EACH]
    return ", ".join(map(shown, first)) + (", ..." if len(names) > len(first) else "")


def shown(path: str | Path) -> str:
    """The path on one line of valid UTF-8; bytes that are none and control characters are escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
