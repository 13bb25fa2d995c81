"""Batches from a stream: the windows of each (seed, step) are a pure function of the documents, as with token files.

The stream is cut into blocks of equal token count, and windows are shuffled within each block. Resuming at a step needs
only the place where its block begins, which is saved in the checkpoint.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gptcore.errors import UserError
from gptcore.prefetch import Prefetch
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.training.batches import AHEAD
from gptcore.training.config import Order

Tokens = NDArray[np.uint32]
KEPT_PLACES = AHEAD + 2  # the state that is saved is of a batch at most AHEAD + 1 before the newest one
Place = tuple[int, ...]


class Documents(Protocol):
    """A protocol instead of an import of corpus/stream.py, so training on token files does not depend on its code."""

    start: Place

    def documents(self, place: Place) -> Iterator[tuple[Place, str]]: ...


class Block(NamedTuple):
    """The `tokens` of a block, plus the first token of the next one, and the place where the next one begins."""

    tokens: Tokens
    next_place: Place


class StreamBatches:
    """Batches of `batch_size` windows of `block_size` tokens from a stream.

    epochs: consecutive windows of the stream, shuffled within blocks of `shuffle_tokens`. crops: windows start anywhere
    in such a block, drawn with replacement, for nanoGPT's recipe.
    """

    left_out = 0

    def __init__(
        self, stream: Documents, tokenizer: Tokenizer, block_size: int, batch_size: int, order: Order, seed: int,
        shuffle_tokens: int,
    ) -> None:  # fmt: skip
        """Raises UserError for an order that a stream does not support."""
        if order == "documents":
            raise UserError("train.order documents needs token files: a stream has epochs and crops")
        self.stream, self.tokenizer = stream, tokenizer
        self.block_size, self.batch_size, self.order, self.seed = block_size, batch_size, order, seed
        self.steps = max(shuffle_tokens // (batch_size * block_size), 1)  # per block
        # where blocks begin (file, text, token): the first one, and the last few, for resuming and for going back
        self.places: dict[int, Place] = {0: (*stream.start, 0)}
        self.number, self.tokens, self.shuffled = -1, np.empty(0, np.uint32), np.empty(0, np.int64)
        self.coming: Prefetch[Block] | None = None

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """Ids and targets of batch `step`, each (batch_size, block_size) int64. Raises UserError, Unavailable."""
        number, step_of_block = divmod(step, self.steps)
        if number != self.number:
            self._go_to(number)
        if self.order == "crops":
            starts = self._random(step).integers(0, len(self.tokens) - self.block_size, self.batch_size)
        else:
            starts = self.shuffled[step_of_block * self.batch_size :][: self.batch_size]
        rows = torch.from_numpy(self.tokens[starts[:, None] + np.arange(self.block_size + 1)].astype(np.int64))
        return rows[:, :-1], rows[:, 1:]

    def tensors(self, step: int) -> dict[str, Tensor]:
        """The state needed to resume at batch `step`."""
        places = self.places  # the thread that prepares batches puts another one in its place
        number = max(known for known in places if known <= step // self.steps)
        return {"place": torch.tensor([number, *places[number]])}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        number, *place = tensors["place"].tolist()
        self.places = self.places | {number: tuple(place)}

    def _go_to(self, number: int) -> None:
        """Load the tokens of block `number`, and prefetch the next block."""
        if self.coming is None or number < self.number:
            if self.coming:
                self.coming.close()
            first = max(known for known in self.places if known <= number)
            self.coming, self.number = Prefetch(self._blocks(self.places[first])), first - 1
        while self.number < number:
            self.tokens, next_place = next(self.coming)
            self.number += 1
            oldest = self.number - KEPT_PLACES
            kept = {known: place for known, place in self.places.items() if known == 0 or known > oldest}
            self.places = kept | {self.number + 1: next_place}
        self.shuffled = self._random(number).permutation(self.steps * self.batch_size) * self.block_size

    def _blocks(self, place: Place) -> Iterator[Block]:
        """Yield blocks from `place` on, each with one extra token."""
        size = self.steps * self.batch_size * self.block_size
        *document, token = place
        encoded = self._encoded(self.stream.documents(tuple(document)))
        here, rest = next(encoded)
        rest = rest[token:]
        while True:
            parts, missing = [], size + 1
            while missing > len(rest):
                parts.append(rest)
                missing -= len(rest)
                token = 0
                here, rest = next(encoded)
            parts.append(rest[:missing])
            token, rest = token + missing - 1, rest[missing - 1 :]
            yield Block(np.concatenate(parts), (*here, token))

    def _encoded(self, documents: Iterable[tuple[Place, str]]) -> Iterator[tuple[Place, Tokens]]:
        for place, text in documents:
            yield place, self.tokenizer.encode_documents([text.encode()])

    def _random(self, counter: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=np.array([self.seed, counter], np.uint64)))
