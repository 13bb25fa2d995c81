"""Data order: a pure function of (seed, step, position in the batch), so a resumed run repeats nothing."""

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gptcore.tokens.token_files import Tokens
from gptcore.training.config import Order

AHEAD = 2  # prefetched batches: one ready for the next step, one being prepared


# ids and targets, and of records packed together their starts (see packing.py): what the model's forward pass takes
Batch = tuple[Tensor, ...]


class BatchSource(Protocol):
    """Batch `step` (0-based), each tensor of it (batch_size, block_size) int64, and the state to resume from."""

    block_size: int
    batch_size: int
    left_out: int  # records that are in no batch

    def __getitem__(self, step: int) -> Batch: ...

    def tensors(self, step: int) -> dict[str, Tensor]:
        """The state needed to resume at batch `step`."""
        ...

    def load_tensors(self, tensors: dict[str, Tensor]) -> None: ...


class Batches:
    """Batches of `batch_size` windows of `block_size` tokens from a token array.

    epochs: each epoch cuts the tokens into windows at a new random offset and visits every window once, in a new
    order. documents: the same, but the windows are cut once, each at a document's start or at the end of the previous
    window (modded-nanogpt, nanochat). crops: windows start anywhere, drawn with replacement, as in nanoGPT's train.py.
    """

    left_out = 0

    def __init__(
        self, tokens: Tokens, block_size: int, batch_size: int, order: Order, seed: int,
        documents: NDArray[np.int64] | None = None,
    ) -> None:  # fmt: skip
        """`documents` holds the start of each document; only `order="documents"` needs it."""
        self.tokens, self.block_size, self.batch_size = tokens, block_size, batch_size
        self.order, self.seed = order, seed
        self.cuts = None
        # one window fewer than fits, so that any offset below block_size leaves room for the last target
        self.windows = (len(tokens) - 1) // block_size - 1
        if order == "documents":
            assert documents is not None
            self.cuts = document_windows(documents, len(tokens), block_size)
            self.windows = len(self.cuts)
        self.epoch, self.starts = -1, np.empty(0, np.int64)

    def starts_of(self, step: int) -> NDArray[np.int64]:
        """Start positions of the windows of batch `step` (0-based); shape (batch_size,)."""
        if self.order == "crops":
            return self._random(step).integers(0, len(self.tokens) - self.block_size, self.batch_size)
        first = step * self.batch_size
        return np.array([self._start(index) for index in range(first, first + self.batch_size)], np.int64)

    def __getitem__(self, step: int) -> Batch:
        """Ids and targets of batch `step`, each (batch_size, block_size) int64."""
        positions = self.starts_of(step)[:, None] + np.arange(self.block_size + 1)
        rows = torch.from_numpy(self.tokens[positions].astype(np.int64))
        return rows[:, :-1], rows[:, 1:]

    def tensors(self, step: int) -> dict[str, Tensor]:
        return {}  # token files are complete on disk: nothing to save

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        pass

    def _start(self, index: int) -> int:
        epoch, position = divmod(index, self.windows)
        if epoch != self.epoch:
            random = self._random(epoch)
            if self.cuts is not None:
                self.starts = random.permutation(self.cuts)
            else:
                offset = random.integers(self.block_size)
                self.starts = random.permutation(self.windows) * self.block_size + offset
            self.epoch = epoch
        return int(self.starts[position])

    def _random(self, counter: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=np.array([self.seed, counter], np.uint64)))


def document_windows(documents: NDArray[np.int64], n_tokens: int, block_size: int) -> NDArray[np.int64]:
    """Window starts chosen so that as many windows as possible begin with a document; together they cover every token.

    If a window cuts off a document that began inside it, the next window starts at that document's start. Those tokens
    are seen twice, and the document is seen once with its whole beginning.
    """
    starts, start = [], 0
    while start + block_size < n_tokens:
        starts.append(start)
        last = int(documents[np.searchsorted(documents, start + block_size, side="right") - 1])
        start = last if last > start else start + block_size
    return np.array(starts, np.int64)


def prepared(
    batches: BatchSource, indices: Iterable[int], pin_memory: bool
) -> Generator[tuple[int, Batch], None, None]:
    """Yield each index with its batch, in order, prefetched by a thread; optionally in pinned memory.

    Closing the iterator ends the thread. Exceptions in the thread are raised here.
    """
    left = iter(indices)

    def make(index: int) -> tuple[int, Batch]:
        batch = batches[index]
        if pin_memory:
            batch = tuple(each.contiguous().pin_memory() for each in batch)
        return index, batch

    with ThreadPoolExecutor(1, "batches") as maker:
        coming = deque(maker.submit(make, index) for index in islice(left, AHEAD))
        while coming:
            batch = coming.popleft().result()
            coming.extend(maker.submit(make, index) for index in islice(left, 1))
            yield batch
