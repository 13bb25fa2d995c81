"""How much of a text is in the training text word for word: the longest run of ids that both have."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gptcore.tokens.token_files import Tokens

IDS_AT_ONCE = 1 << 22  # of the training text, in memory
BASE = np.uint64(0x9E3779B97F4A7C15)  # odd: a product with it, modulo 2^64, loses nothing


class Overlap(NamedTuple):
    """A run of `length` ids that begins at `start` in the `text`-th text and at `source` in the training text."""

    length: int
    text: int
    start: int
    source: int


def longest_overlap(texts: Sequence[NDArray[np.unsignedinteger]], training: Tokens) -> Overlap:
    """The longest run of ids that one of `texts`, each (ids,), and `training` have in common.

    A run of n ids has one of n - 1 in it, so its length is found by halves. Each guess compares a hash of every n ids
    of one side with those of the other (Karp & Rabin 1987), and then the ids themselves.
    """
    found, low, high = Overlap(0, 0, 0, 0), 0, max(map(len, texts), default=0)
    while low < high:
        n = (low + high + 1) // 2
        if shared := _shared(texts, training, n):
            found, low = shared, n
        else:
            high = n - 1
    return found


def _shared(texts: Sequence[NDArray[np.unsignedinteger]], training: Tokens, n: int) -> Overlap | None:
    runs = [(number, start) for number, text in enumerate(texts) for start in range(len(text) - n + 1)]
    wanted = np.concatenate([_hashes(text, n) for text in texts if len(text) >= n])
    for first in range(0, len(training) - n + 1, IDS_AT_ONCE):
        part = training[first : first + IDS_AT_ONCE + n - 1]
        hashes = _hashes(part, n)
        for place in np.flatnonzero(np.isin(hashes, wanted)):
            for index in np.flatnonzero(wanted == hashes[place]):
                number, start = runs[index]
                if np.array_equal(texts[number][start : start + n], part[place : place + n]):
                    return Overlap(n, number, start, first + int(place))
    return None


def _hashes(ids: NDArray[np.unsignedinteger], n: int) -> NDArray[np.uint64]:
    """A hash of every n neighbouring ids: sum of id * BASE^(place from the end), in log2(n) passes."""
    power, length = BASE, 1  # power is BASE^length; block hashes `length` ids
    block = ids.astype(np.uint64) + np.uint64(1)
    total: NDArray[np.uint64] | None = None
    done = 0
    with np.errstate(over="ignore"):
        while True:
            if n >> (length.bit_length() - 1) & 1:
                if total is None:
                    total, done = block, length
                else:  # `block` goes in front of what is there
                    front = block[: len(block) - done]
                    weight = _power(done)
                    total = front[: len(total) - length] * weight + total[length:][: len(front)]
                    done += length
            if 2 * length > n:
                assert total is not None
                return total[: len(ids) - n + 1]
            block = block[:-length] * power + block[length:]
            power, length = power * power, 2 * length


def _power(exponent: int) -> np.uint64:
    return np.uint64(pow(int(BASE), exponent, 1 << 64))
