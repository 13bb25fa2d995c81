"""Perplexity, bits per byte, standard error, and the paired comparison of two models on the same windows."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from gptcore.model.gpt import GPT
from gptcore.progress import Progress
from gptcore.ranks.distributed import gathered, share
from gptcore.tokens.packing import UNCOUNTED, PackedWindows, Rows, whole_windows
from gptcore.tokens.token_files import PairTokens, Tokens

WINDOWS_PER_BATCH = 64
LOGITS_AT_ONCE = 1 << 28  # 1 GiB in float32; 64 windows of GPT-2's context and vocabulary would take 13 GB


def window_losses(
    model: GPT, tokens: Tokens, window: int, at_most: int = 0, shared: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Summed loss (nats) and number of targets of each window of `window` tokens; covers every token but the first.

    `at_most` > 0 takes that many full windows, spread evenly. Of prompts and responses, the responses are the targets,
    in packed windows. With `shared`, every rank calls this, scores its share, and gets all. Restores the model's
    training or evaluation mode.
    """
    losses, counts = [np.zeros(0)], [np.zeros(0, np.int64)]

    def mine(n: int) -> slice:
        return share(n) if shared else slice(n)

    def joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
        return gathered(np.concatenate(parts)) if shared else np.concatenate(parts)

    if isinstance(tokens, PairTokens):
        pairs = whole_windows(tokens, window)
        numbers = np.arange(len(pairs))
        if at_most and at_most < len(pairs):
            numbers = np.linspace(0, len(pairs) - 1, at_most).round().astype(np.int64)

        def add_packed(rows: Rows, loss: torch.Tensor) -> None:
            losses.append(loss.sum(1).numpy())
            counts.append((rows.targets >= 0).sum(1))

        each_packed_batch(model, pairs, numbers[mine(len(numbers))], add_packed)
        return joined(losses), joined(counts)
    starts = np.arange(0, len(tokens) - 1, window)
    if at_most and at_most < len(starts):
        starts = starts[: (len(tokens) - 1) // window]
        starts = starts[np.linspace(0, len(starts) - 1, at_most).round().astype(np.int64)]

    def add(targets: NDArray[np.int64], loss: torch.Tensor) -> None:
        real = torch.from_numpy(targets < len(tokens))
        losses.append((loss * real).sum(1).numpy())
        counts.append(real.sum(1).numpy())

    each_batch(model, tokens, starts[mine(len(starts))], window, add)
    return joined(losses), joined(counts)


def products_in(device: torch.device) -> torch.dtype:
    """The dtype of matrix products where whole splits are evaluated: bfloat16 on GPUs that have it, else float32.

    It moves the mean loss of a trained model by 1e-4 nats (benchmarks/results/gpu.txt): what is compared shares it.
    """
    has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if has_bfloat16 else torch.float32


def each_batch(
    model: GPT,
    tokens: Tokens,
    starts: NDArray[np.int64],
    window: int,
    use: Callable[[NDArray[np.int64], torch.Tensor], None],
    progress: Progress | None = None,
) -> None:
    """Call `use` with the targets' positions and losses (nats, float64), both (windows, window), batch after batch.

    Positions after the last token have no meaningful loss. Restores the model's training or evaluation mode.
    """
    with _evaluating(model):
        for batch in _batches(model, len(starts), window, progress):
            positions = starts[batch, None] + np.arange(window + 1)
            rows = torch.from_numpy(tokens[np.minimum(positions, len(tokens) - 1)].astype(np.int64))
            use(positions[:, 1:], _losses(model, rows[:, :-1], rows[:, 1:]))


def each_packed_batch(
    model: GPT,
    windows: PackedWindows,
    numbers: NDArray[np.int64],
    use: Callable[[Rows, torch.Tensor], None],
    progress: Progress | None = None,
) -> None:
    """The same with packed windows; the loss is 0 where nothing is counted."""
    with _evaluating(model):
        for batch in _batches(model, len(numbers), windows.block_size, progress):
            rows = windows.rows(numbers[batch])
            use(rows, _losses(model, *(torch.from_numpy(each) for each in (rows.ids, rows.targets, rows.starts))))


@contextmanager
def _evaluating(model: GPT) -> Iterator[None]:
    training = model.training
    model.eval()
    with torch.inference_mode():
        yield
    model.train(training)


def _batches(model: GPT, n: int, window: int, progress: Progress | None) -> Iterator[slice]:
    """As many of `n` windows as are evaluated at once."""
    size = max(min(WINDOWS_PER_BATCH, LOGITS_AT_ONCE // (window * model.vocab_size)), 1)
    for first in range(0, n, size):
        yield slice(first, first + size)
        if progress:
            progress.update(progress.total * min(first + size, n) // n)


def _losses(model: GPT, ids: torch.Tensor, targets: torch.Tensor, starts: torch.Tensor | None = None) -> torch.Tensor:
    """Nats in float64 on the CPU, as Apple's GPUs have none; 0 where a target is negative."""
    device = model.wte.weight.device
    logits = model(ids.to(device), starts=None if starts is None else starts.to(device))
    loss = F.cross_entropy(logits.flatten(0, 1), targets.to(device).flatten(), reduction="none", ignore_index=UNCOUNTED)
    return loss.view(targets.shape).cpu().double()


@dataclass(frozen=True)
class Score:
    """`loss` in nats per token; `bits_per_byte` counts the text's UTF-8 bytes, so tokenizers can be compared."""

    loss: float
    loss_standard_error: float
    perplexity: float
    bits_per_byte: float


def score(losses: NDArray[np.float64], counts: NDArray[np.int64], n_bytes: int) -> Score:
    loss = losses.sum() / counts.sum()
    bits_per_byte = losses.sum() / math.log(2) / n_bytes
    return Score(float(loss), standard_error(losses, counts), math.exp(loss), float(bits_per_byte))


def standard_error(losses: NDArray[np.float64], counts: NDArray[np.int64]) -> float:
    """Standard error of the mean loss per token, with windows as independent; for loss differences, the paired one."""
    residuals = losses - counts * (losses.sum() / counts.sum())
    return float(np.sqrt((residuals**2).sum() * len(losses) / max(len(losses) - 1, 1)) / counts.sum())
