"""Batches of prompts and responses: windows of whole records, each visited once per epoch, in a new order."""

from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gptcore.config.paths import Paths
from gptcore.corpus.documents import read_documents
from gptcore.errors import UserError
from gptcore.ranks import distributed
from gptcore.tokens.packing import PackedWindows, beginnings, with_targets
from gptcore.tokens.token_files import INDEX, PairTokens, read_index
from gptcore.training.batches import Batch
from gptcore.training.config import Order

NAMED = 10  # records in a line that names them


class PairBatches:
    """Ids, targets and starts (see packing.py). `crops` draws windows with replacement; the other orders are alike."""

    def __init__(
        self, windows: PackedWindows, batch_size: int, order: Order, seed: int, left_out: int = 0
    ) -> None:  # fmt: skip
        self.left_out = left_out
        self.windows, self.block_size, self.batch_size = windows, windows.block_size, batch_size
        self.order, self.seed = order, seed
        self.epoch, self.shuffled = -1, np.empty(0, np.int64)

    def __getitem__(self, step: int) -> Batch:
        """Ids, targets and starts of batch `step`, each (batch_size, block_size) int64."""
        if self.order == "crops":
            numbers = self._random(step).integers(0, len(self.windows), self.batch_size)
        else:
            first = step * self.batch_size
            numbers = np.array([self._number(index) for index in range(first, first + self.batch_size)])
        rows = self.windows.rows(numbers)
        return tuple(torch.from_numpy(each) for each in (rows.ids, rows.targets, rows.starts))

    def tensors(self, step: int) -> dict[str, Tensor]:
        return {}  # token files are complete on disk: nothing to save

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        pass

    def _number(self, index: int) -> int:
        epoch, position = divmod(index, len(self.windows))
        if epoch != self.epoch:
            self.epoch, self.shuffled = epoch, self._random(epoch).permutation(len(self.windows))
        return int(self.shuffled[position])

    def _random(self, counter: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=np.array([self.seed, counter], np.uint64)))


def pair_batches(
    tokens: PairTokens, paths: Paths, block_size: int, batch_size: int, order: Order, seed: int
) -> PairBatches:
    """The records of the training split, each cut off after `block_size` tokens.

    One of which no response is left is left out, and named with its file and line. Raises UserError if all are.
    """
    pieces = beginnings(tokens.documents, len(tokens), block_size)
    is_kept = with_targets(pieces, tokens.mask)
    index = read_index(paths.tokens, "train")
    lines = index[~is_kept, INDEX.index("line")].tolist()
    why = f"no response begins within the {block_size:,} tokens of model.block_size"
    if not is_kept.any():
        raise UserError(f"{why} in any of the {len(pieces):,} records; raise it, or take shorter prompts")
    if lines and distributed.is_first():
        names = _named(paths.raw / "documents.jsonl", lines[:NAMED])
        more = f" and {len(lines) - NAMED:,} more" if len(lines) > NAMED else ""
        print(f"left out of training, as {why}: {'; '.join(names)}{more}", flush=True)
    windows = PackedWindows(tokens, pieces[is_kept], block_size)
    return PairBatches(windows, batch_size, order, seed, len(lines))


def _named(corpus: Path, lines: list[int]) -> list[str]:
    """Where records of the corpus are from, or their lines alone if it is not there."""
    where = {line: f"{corpus.name} line {line + 1:,}" for line in lines}
    if corpus.exists():
        for line, document in enumerate(islice(read_documents(corpus), max(lines) + 1)):
            if line in where:
                where[line] = document.title
    return list(where.values())
