"""Which window each (seed, step, position in the batch) sees: a pure function, so a resumed run repeats nothing."""

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gptcore.tokens.token_files import Tokens

Order = Literal["epochs", "documents", "crops"]
AHEAD = 2  # one is ready when the step wants it, one is in the making


class BatchSource(Protocol):
    """Ids and targets of batch `step` (0-based), each (batch_size, block_size) int64, and what a resumed run needs."""

    block_size: int
    batch_size: int

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]: ...

    def tensors(self, step: int) -> dict[str, Tensor]:
        """What must be known to go on with batch `step`."""
        ...

    def load_tensors(self, tensors: dict[str, Tensor]) -> None: ...


class Batches:
    """Batches of `batch_size` windows of `block_size` tokens from a token array.

    epochs: the tokens are cut into windows, from an offset that each epoch draws anew, and every window is seen once
    per epoch in a fresh order. documents: the same, but the windows are cut once, each at a document's start or where
    the window before it ended (modded-nanogpt, nanochat). crops: windows start anywhere, drawn with replacement, as
    nanoGPT's train.py does.
    """

    def __init__(
        self, tokens: Tokens, block_size: int, batch_size: int, order: Order, seed: int,
        documents: NDArray[np.int64] | None = None,
    ) -> None:  # fmt: skip
        """`documents` is where each one starts; only the order of that name needs it."""
        self.tokens, self.block_size, self.batch_size = tokens, block_size, batch_size
        self.order, self.seed = order, seed
        self.cuts = None
        # one window less than fits, so that any offset below block_size leaves room for the last target
        self.windows = (len(tokens) - 1) // block_size - 1
        if order == "documents":
            assert documents is not None
            self.cuts = document_windows(documents, len(tokens), block_size)
            self.windows = len(self.cuts)
        self.epoch, self.starts = -1, np.empty(0, np.int64)

    def starts_of(self, step: int) -> NDArray[np.int64]:
        """Where the windows of batch `step` (0-based) start; shape (batch_size,)."""
        if self.order == "crops":
            return self._random(step).integers(0, len(self.tokens) - self.block_size, self.batch_size)
        first = step * self.batch_size
        return np.array([self._start(index) for index in range(first, first + self.batch_size)], np.int64)

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """Ids and targets of batch `step`, each (batch_size, block_size) int64."""
        positions = self.starts_of(step)[:, None] + np.arange(self.block_size + 1)
        rows = torch.from_numpy(self.tokens[positions].astype(np.int64))
        return rows[:, :-1], rows[:, 1:]

    def tensors(self, step: int) -> dict[str, Tensor]:
        return {}  # token files lie here whole

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
        return np.random.Generator(np.random.Philox(key=[self.seed, counter]))


def document_windows(documents: NDArray[np.int64], n_tokens: int, block_size: int) -> NDArray[np.int64]:
    """Where windows start so that as many as can begin with a document; together they hold every token.

    A window that ends inside a document which began in it is followed by one from that document's start: those tokens
    are seen twice, and the document once with all of its beginning.
    """
    starts, start = [], 0
    while start + block_size < n_tokens:
        starts.append(start)
        last = int(documents[np.searchsorted(documents, start + block_size, side="right") - 1])
        start = last if last > start else start + block_size
    return np.array(starts, np.int64)


def prepared(
    batches: BatchSource, indices: Iterable[int], pin_memory: bool
) -> Generator[tuple[Tensor, Tensor], None, None]:
    """`batches[index]` of each index, in order, made by a thread while the reader works; pinned for copies to a GPU.

    Closing the iterator ends the thread. What goes wrong in it is raised here.
    """
    left = iter(indices)

    def make(index: int) -> tuple[Tensor, Tensor]:
        ids, targets = batches[index]
        return (ids.contiguous().pin_memory(), targets.contiguous().pin_memory()) if pin_memory else (ids, targets)

    with ThreadPoolExecutor(1, "batches") as maker:
        coming = deque(maker.submit(make, index) for index in islice(left, AHEAD))
        while coming:
            batch = coming.popleft().result()
            coming.extend(maker.submit(make, index) for index in islice(left, 1))
            yield batch
