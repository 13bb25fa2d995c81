"""Prompts and responses packed into windows, in which none sees another: each is what it would be alone."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gptcore.tokens.token_files import PairTokens

Int64s = NDArray[np.int64]
UNCOUNTED = -100  # a target that has no loss; torch's number for it


class Rows(NamedTuple):
    """Windows (rows, block_size). `starts` has for each position the one at which its record starts in the window.

    `places` are the positions of `ids` in the split. What fills a window up is a record of its own, without targets.
    """

    ids: Int64s
    targets: Int64s
    starts: Int64s
    places: Int64s


def beginnings(documents: Int64s, n_tokens: int, block_size: int) -> Int64s:
    """The first `block_size` tokens of each document as a piece (begin, end)."""
    ends = np.append(documents[1:], n_tokens)
    return np.stack([documents, np.minimum(ends, documents + block_size)], axis=1)


def consecutive(documents: Int64s, n_tokens: int, block_size: int) -> Int64s:
    """Each document in pieces of `block_size` tokens, one after another, so that every token is in one."""
    ends = np.append(documents[1:], n_tokens)
    counts = -(-(ends - documents) // block_size)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    begins = np.repeat(documents, counts) + number * block_size
    return np.stack([begins, np.minimum(np.repeat(ends, counts), begins + block_size)], axis=1)


def with_targets(pieces: Int64s, mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pieces have something to learn."""
    return np.array([mask[begin:end].any() for begin, end in pieces.tolist()], bool)


class PackedWindows:
    """Pieces of a split, each whole, in as few windows as best fit finds (Johnson et al. 1974), longest first."""

    def __init__(self, tokens: PairTokens, pieces: Int64s, block_size: int) -> None:
        self.tokens, self.block_size = tokens, block_size
        self.windows = [pieces[each] for each in packed(pieces[:, 1] - pieces[:, 0], block_size)]

    def __len__(self) -> int:
        return len(self.windows)

    def rows(self, numbers: Sequence[int] | Int64s) -> Rows:
        """The windows with these numbers."""
        shape = len(numbers), self.block_size
        places, starts = np.full(shape, -1, np.int64), np.empty(shape, np.int64)
        for row, number in enumerate(numbers):
            at = 0
            for begin, end in self.windows[number].tolist():
                after = at + end - begin
                places[row, at:after], starts[row, at:after] = np.arange(begin, end), at
                at = after
            starts[row, at:] = at
        filled, last, here = places >= 0, len(self.tokens) - 1, np.maximum(places, 0)
        ids, after = (self.tokens[each].astype(np.int64) for each in (here, np.minimum(here + 1, last)))
        # the last record of the split ends as the others do, though no other follows
        after = np.where(here < last, after, self.tokens.eot_id)
        counted = filled & (self.tokens.mask[here] == 1)
        targets = np.where(counted, after, UNCOUNTED)
        return Rows(np.where(filled, ids, self.tokens.eot_id), targets, starts, places)


def whole_windows(tokens: PairTokens, block_size: int) -> PackedWindows:
    """Windows in which every response token has its loss once, those of a longer record with less before them."""
    pieces = consecutive(tokens.documents, len(tokens), block_size)
    return PackedWindows(tokens, pieces[with_targets(pieces, tokens.mask)], block_size)


def packed(lengths: Int64s, room: int) -> list[list[int]]:
    """Numbers of the lengths that share a window of `room`; each goes where the least room is left over."""
    windows: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(room + 1)]  # windows by what is free in them
    free = 0  # a bit for each amount that some window has free
    for number in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[number])
        if enough := free >> length:
            left = length + (enough & -enough).bit_length() - 1
            window = with_room[left].pop()
            free &= ~(not with_room[left] and 1 << left)
        else:
            left, window = room, len(windows)
            windows.append([])
        windows[window].append(number)
        if rest := left - length:
            with_room[rest].append(window)
            free |= 1 << rest
    return windows
