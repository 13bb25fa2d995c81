"""gigatoken's encoder: the ids of tiktoken at many times the speed. tiktoken stays the reference.

The two differ in characters that Unicode 17 has added, which tiktoken does not know as letters, digits or marks yet.
`fits` is False for a text that contains one.
"""

import base64
import re
from tempfile import NamedTemporaryFile
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import psutil
from gigatoken import Tokenizer as Gigatoken

from gptcore.tokens.tokenizer import BYTES, PATTERNS

# gigatoken's names of OpenAI's patterns
SCHEMES: Final = {PATTERNS["gpt2"]: "gpt2", PATTERNS["cl100k_base"]: "gpt4", PATTERNS["o200k_base"]: "o200k"}
# Beyond the basic plane these ranges are wider than need be: a few long ranges are searched many times faster.
NEWER = re.compile(
    "[\u088f\u0c5c\u0cdc\u1acf-\u1add\u1ae0-\u1aeb\ua7ce\ua7cf\ua7d2\ua7d4\ua7f1\U00010940-\U0001e6ff\U0002b73a-\U00033479]"
)
FIRST_BYTES = (b"\xe0", b"\xe1", b"\xea", b"\xf0")  # of all these characters in UTF-8
CACHE_BYTES = 32 << 20  # gigatoken remembers each word that it has seen: up to 10 bytes for each byte of text


class FastEncoder:
    """Encodes by one of OpenAI's patterns. No special tokens: their names in a text are ordinary text."""

    _gigatoken: Gigatoken

    def __init__(self, tokens: tuple[bytes, ...], scheme: str) -> None:
        self.scheme = scheme
        self._ranks = b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for rank, token in enumerate(tokens))
        self._load()

    @classmethod
    def of(cls, tokens: tuple[bytes, ...], pattern: str) -> Self | None:
        """For a pattern of PATTERNS. None if the tokens are not what it takes: bytes, then merges."""
        if set(tokens[:256]) != set(BYTES):
            return None
        try:
            return cls(tokens, SCHEMES[pattern])
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # of Rust; it cannot be imported
                raise
            return None

    def fits(self, text: bytes) -> bool:
        if text.isascii() or not any(first in text for first in FIRST_BYTES):
            return True
        return not NEWER.search(text.decode())

    def encode(self, text: bytes) -> npt.NDArray[np.uint32]:
        """The ids of a text for which `fits` is true, shape (tokens,)."""
        return self._gigatoken.encode(text)

    def bound_memory(self) -> None:
        """Forget the words if the process has grown by CACHE_BYTES since they were last forgotten."""
        if _resident_bytes() > self._resident_bytes + CACHE_BYTES:
            del self._gigatoken  # before the next one needs memory
            self._load()

    def _load(self) -> None:
        with NamedTemporaryFile(suffix=".tiktoken") as file:
            file.write(self._ranks)
            file.flush()
            self._gigatoken = Gigatoken.from_tiktoken(file.name, pretokenizer=self.scheme)
        self._gigatoken.encode(b" ")  # fills in what it has put off
        self._resident_bytes = _resident_bytes()


def _resident_bytes() -> int:
    resident: int = psutil.Process().memory_info().rss
    return resident
