"""The bytes of all tokens: whether ids give a text, which is compared whole, eight bytes at a time."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

WORD_BYTES = 8
IDS_AT_ONCE = 1 << 15  # what a pass needs stays in the processor's cache

Int64s = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


class TokenBytes:
    """`words` are the first bytes of each token; few tokens are longer, and their rest is compared at the end."""

    def __init__(self, tokens: Sequence[bytes]) -> None:
        lengths = np.array([len(token) for token in tokens], np.int64)
        longest = int(lengths.max())
        self.starts = np.cumsum(lengths) - lengths
        self.lengths = lengths.astype(np.min_scalar_type(longest))
        self.joined = _padded(b"".join(tokens))
        self.words = _read(self.joined, self.starts)
        # puts the bytes after a token of so many bytes out of a word
        self.shifts = 8 * (WORD_BYTES - np.minimum(np.arange(longest + 1), WORD_BYTES)).astype(np.uint64)

    def give(self, ids: npt.NDArray[np.unsignedinteger], text: bytes) -> bool:
        """Whether the tokens `ids`, one after another, are `text`."""
        padded, end, longer = _padded(text), 0, list[tuple[Int64s, Int64s]]()
        for first in range(0, len(ids), IDS_AT_ONCE):
            some = ids[first : first + IDS_AT_ONCE].astype(np.int64)
            sizes = self.lengths.take(some)
            ends = sizes.cumsum(dtype=np.int64)
            ends += end
            end, places = int(ends[-1]), ends - sizes
            if end > len(text) or not self._same(padded, places, self.words.take(some), sizes):
                return False
            which = np.flatnonzero(sizes > WORD_BYTES)
            longer.append((some[which], places[which]))
        if end < len(text):
            return False
        return not longer or self._end(padded, *map(np.concatenate, zip(*longer, strict=True)))

    def _end(self, padded: Words, ids: Int64s, places: Int64s) -> bool:
        """Whether tokens longer than a word are at their places to their ends."""
        sources, sizes = self.starts[ids], self.lengths[ids]
        while len(longer := np.flatnonzero(sizes > WORD_BYTES)):
            sources, places = sources[longer] + WORD_BYTES, places[longer] + WORD_BYTES
            sizes = sizes[longer] - WORD_BYTES
            if not self._same(padded, places, _read(self.joined, sources), sizes):
                return False
        return True

    def _same(self, padded: Words, places: Int64s, words: Words, sizes: npt.NDArray[np.unsignedinteger]) -> bool:
        """Whether the words are at these places, as far as a token of that many bytes goes."""
        found = _read(padded, places)
        found ^= words
        found <<= self.shifts.take(sizes)
        return not found.any()


def _padded(text: bytes) -> Words:
    """A text as words, with one more for who reads beyond its end."""
    return np.frombuffer(text + bytes(2 * WORD_BYTES - len(text) % WORD_BYTES), "<u8")


def _read(padded: Words, places: Int64s) -> Words:
    """The word, little-endian, that begins at each place: the end of one and the beginning of the next."""
    bits = (places & 7).view(np.uint64)
    bits <<= 3
    which = places >> 3  # words have 8 bytes; a division takes longer
    found: Words = padded.take(which)
    found >>= bits
    which += 1
    following: Words = padded.take(which)
    bits ^= 63
    following <<= 1  # and 63 - bits more: a shift by all 64 at once is none
    following <<= bits
    found |= following
    return found
