"""Perplexity, bits per byte, standard error, and the paired comparison of two models on the same windows."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from gptcore.model.gpt import GPT
from gptcore.progress import Progress
from gptcore.tokens.token_files import Tokens

WINDOWS_PER_BATCH = 64
LOGITS_AT_ONCE = 1 << 28  # 1 GiB in float32; 64 windows of GPT-2's context and vocabulary would take 13 GB


def window_losses(
    model: GPT, tokens: Tokens, window: int, at_most: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Summed loss (nats) and number of targets of each window of `window` tokens; covers every token but the first.

    `at_most` > 0 takes that many full windows, spread evenly. Restores the model's training or evaluation mode.
    """
    starts = np.arange(0, len(tokens) - 1, window)
    if at_most and at_most < len(starts):
        starts = starts[: (len(tokens) - 1) // window]
        starts = starts[np.linspace(0, len(starts) - 1, at_most).round().astype(np.int64)]
    losses, counts = [], []

    def add(targets: NDArray[np.int64], loss: torch.Tensor) -> None:
        real = torch.from_numpy(targets < len(tokens))
        losses.append((loss * real).sum(1).numpy())
        counts.append(real.sum(1).numpy())

    each_batch(model, tokens, starts, window, add)
    return np.concatenate(losses), np.concatenate(counts)


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
    training, device = model.training, model.wte.weight.device
    model.eval()
    size = max(min(WINDOWS_PER_BATCH, LOGITS_AT_ONCE // (window * model.vocab_size)), 1)
    with torch.inference_mode():
        for first in range(0, len(starts), size):
            positions = starts[first : first + size, None] + np.arange(window + 1)
            rows = torch.from_numpy(tokens[np.minimum(positions, len(tokens) - 1)].astype(np.int64)).to(device)
            logits = model(rows[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="none")
            use(positions[:, 1:], loss.view(len(rows), window).cpu().double())  # Apple's GPUs have no float64
            if progress:
                progress.update(min(first + size, len(starts)))
    model.train(training)


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
