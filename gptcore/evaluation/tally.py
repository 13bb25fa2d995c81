"""Losses of a whole split, summed by window, by document and by position in the context; every token counts once."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gptcore.evaluation.losses import each_batch, each_packed_batch, products_in
from gptcore.model.gpt import GPT
from gptcore.progress import Progress
from gptcore.ranks.distributed import gathered, share, total
from gptcore.tokens.packing import Rows, whole_windows
from gptcore.tokens.token_files import PairTokens, Tokens


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

    The first `block_size` tokens of the split have as many as there are. Of prompts and responses, score the
    responses alone, each token with what is before it in its own record; windows do not overlap then. Every rank calls
    this, scores its share of the windows, and gets the sums of all.
    """
    document_starts = np.ascontiguousarray(document_starts)  # a column of a file; searches would copy it each time
    window_losses, window_tokens = [np.zeros(0)], [np.zeros(0, np.int64)]
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
        add_to_documents(targets[counted], losses.numpy()[counted])

    def add_packed(rows: Rows, loss: torch.Tensor) -> None:
        counted = rows.targets >= 0
        losses, before = loss.numpy()[counted], (np.arange(block_size) - rows.starts)[counted]
        window_losses.append(loss.sum(1).numpy())
        window_tokens.append(counted.sum(1))
        positions.losses[:] += np.bincount(before, losses, block_size)
        positions.tokens[:] += np.bincount(before, minlength=block_size)
        add_to_documents(rows.places[counted], losses)  # the end of a text is its own, not the next one's

    def add_to_documents(places: NDArray[np.int64], losses: NDArray[np.float64]) -> None:
        owners = np.searchsorted(document_starts, places, side="right") - 1
        here = slice(owners.min(), owners.max() + 1)  # a few of perhaps millions
        documents.losses[here] += np.bincount(owners - here.start, losses)
        documents.tokens[here] += np.bincount(owners - here.start)

    device = model.wte.weight.device
    dtype = products_in(device)
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        if isinstance(tokens, PairTokens):
            pairs = whole_windows(tokens, block_size)
            each_packed_batch(model, pairs, np.arange(len(pairs))[share(len(pairs))], add_packed, progress)
        else:
            windows = window_starts(len(tokens), block_size, stride)
            each_batch(model, tokens, windows[share(len(windows))], block_size, add, progress)
    for each in (documents, positions):
        total(torch.from_numpy(each.losses))
        total(torch.from_numpy(each.tokens))
    windows_sums = Sums(gathered(np.concatenate(window_losses)), gathered(np.concatenate(window_tokens)))
    return Tally(windows_sums, documents, positions)
