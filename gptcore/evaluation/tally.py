"""Losses of a whole split, summed by window, by document and by position in the context; every token counts once."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gptcore.evaluation.losses import each_batch, products_in
from gptcore.model.gpt import GPT
from gptcore.progress import Progress
from gptcore.tokens.token_files import Tokens


@dataclass(frozen=True)
class Sums:
    """Summed losses (nats) and numbers of tokens."""

    losses: NDArray[np.float64]
    tokens: NDArray[np.int64]


@dataclass(frozen=True)
class Tally:
    """`positions` counts from 0, a target that has one token before it."""

    windows: Sums
    documents: Sums
    positions: Sums


def window_starts(n_tokens: int, block_size: int, stride: int) -> NDArray[np.int64]:
    """Where windows start so that the first scores all its targets, and each other one its last `stride`."""
    return np.arange(0, max(n_tokens - 1 - block_size + stride, 1), stride)


def tally(
    model: GPT,
    tokens: Tokens,
    document_starts: NDArray[np.int64],
    block_size: int,
    stride: int,
    progress: Progress | None = None,
) -> Tally:
    """Score every token but the first once, with at least `block_size - stride` tokens before it in its window.

    The first `block_size` tokens of the split have as many as there are.
    """
    document_starts = np.ascontiguousarray(document_starts)  # a column of a file; searches would copy it each time
    window_losses, window_tokens = [], []
    documents = Sums(np.zeros(len(document_starts)), np.zeros(len(document_starts), np.int64))
    positions = Sums(np.zeros(block_size), np.zeros(block_size, np.int64))

    def add(targets: NDArray[np.int64], loss: torch.Tensor) -> None:
        is_first = targets[:, :1] == 1
        counted = ((np.arange(block_size) >= block_size - stride) | is_first) & (targets < len(tokens))
        losses = loss * torch.from_numpy(counted)
        window_losses.append(losses.sum(1).numpy())
        window_tokens.append(counted.sum(1))
        positions.losses[:] += losses.sum(0).numpy()
        positions.tokens[:] += counted.sum(0)
        owners = np.searchsorted(document_starts, targets[counted], side="right") - 1
        here = slice(owners.min(), owners.max() + 1)  # a few of perhaps millions
        documents.losses[here] += np.bincount(owners - here.start, losses.numpy()[counted])
        documents.tokens[here] += np.bincount(owners - here.start)

    device = model.wte.weight.device
    dtype = products_in(device)
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        each_batch(model, tokens, window_starts(len(tokens), block_size, stride), block_size, add, progress)
    return Tally(Sums(np.concatenate(window_losses), np.concatenate(window_tokens)), documents, positions)
