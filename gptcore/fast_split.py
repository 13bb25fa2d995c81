"""GPT-2's pattern at twice the speed: the same ids by a pattern without look-ahead.

The pattern ends a run of white space one character early when a word follows: `\\s+(?!\\S)`. A look-ahead (and a
possessive `++`) keeps tiktoken from its fast regular expressions, which run in linear time; it costs half of the speed.
Here numpy finds those places first and marks them with a NUL; the rest of the pattern needs no look-ahead.
"""

import re

import numpy as np
import numpy.typing as npt
import tiktoken

MARK = 0
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}\x00]+|\s+|\x00"""
# Texts that hold the mark itself or white space of several bytes are left to tiktoken's own pattern.
UNFIT = re.compile(rb"\x00|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80")


class FastSplit:
    def __init__(self, tokens: tuple[bytes, ...]) -> None:
        ranks = {token: rank for rank, token in enumerate(tokens)}
        self.mark_id = ranks[bytes([MARK])]
        special = {"\x00special": len(ranks)}  # never in a text that is fit; without any, tiktoken stops at each place
        self.encoding = tiktoken.Encoding("fast", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=special)

    def encode(self, text: str) -> npt.NDArray[np.uint32] | None:
        """The ids of `text`, shape (tokens,), or None if it is unfit."""
        encoded = text.encode()
        if UNFIT.search(encoded):
            return None
        characters = np.frombuffer(encoded, np.uint8)
        space = (characters == ord(" ")) | ((characters >= ord("\t")) & (characters <= ord("\r")))
        marked = np.insert(characters, np.flatnonzero(space[:-2] & space[1:-1] & ~space[2:]) + 1, MARK)
        ids = self.encoding.encode_to_numpy(marked.tobytes().decode(), disallowed_special=())
        fit: npt.NDArray[np.uint32] = ids[ids != self.mark_id]
        return fit
