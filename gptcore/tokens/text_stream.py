"""Ids to text while they come: the pieces together are what `Tokenizer.decode` makes of all ids at once.

No piece ends within a character, so a U+FFFD in one is in the whole text too.
"""

import codecs
from collections.abc import Iterable

from gptcore.tokens.libraries import Library
from gptcore.tokens.tokenizer import END_OF_TEXT, Tokenizer

END = END_OF_TEXT.encode()


class TextStream:
    def __init__(self, tokenizer: Tokenizer) -> None:
        self._of = _Whole(tokenizer.library) if tokenizer.library else _Bytes(tokenizer)

    def push(self, ids: Iterable[int]) -> str:
        """The text that these ids complete; more may follow."""
        return self._of.push(ids)

    def end(self) -> str:
        """What is left when no more ids come, U+FFFD for a character that is not complete."""
        return self._of.end()


class _Bytes:
    """Of a tokenizer whose tokens are bytes."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokens = tokenizer.tokens  # a copy with one more would take 0.4 MB of each text, for GPT-2's
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, ids: Iterable[int]) -> str:
        tokens, end = self.tokens, len(self.tokens)
        return self.decoder.decode(b"".join([tokens[each] if each != end else END for each in ids]))

    def end(self) -> str:
        return self.decoder.decode(b"", final=True)


class _Whole:
    """Of another library's tokenizer: decode from the start each time, and keep back what more ids can still change.

    That is the text of single bytes at the end, as the library may call a whole run of them invalid, and U+FFFD.
    """

    def __init__(self, library: Library) -> None:
        self.library = library
        self.ids: list[int] = []
        self.given = 0

    def push(self, ids: Iterable[int]) -> str:
        self.ids += ids
        sure = len(self.ids)
        while sure and self.library.is_byte(self.ids[sure - 1]):
            sure -= 1
        return self._give(self.library.decode(self.ids[:sure]).rstrip("\N{REPLACEMENT CHARACTER}"))

    def end(self) -> str:
        return self._give(self.library.decode(self.ids))

    def _give(self, text: str) -> str:
        piece, self.given = text[self.given :], max(self.given, len(text))
        return piece
