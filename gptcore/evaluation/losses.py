"""Perplexity, bits per byte, standard error, and the paired comparison of two models on the same windows."""

import math
from contextlib import AbstractContextManager, nullcontext
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
    model: GPT,
    tokens: Tokens,
    window: int,
    at_most: int = 0,
    autocast: AbstractContextManager[object] | None = None,
    progress: Progress | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Summed loss (nats) and number of targets of each window of `window` tokens; covers every token but the first.

    `at_most` > 0 takes that many full windows, spread evenly. Restores the model's training or evaluation mode.
    """
    starts = np.arange(0, len(tokens) - 1, window)
    if at_most and at_most < len(starts):
        starts = starts[: (len(tokens) - 1) // window]
        starts = starts[np.linspace(0, len(starts) - 1, at_most).round().astype(np.int64)]
    training, device = model.training, model.wte.weight.device
    model.eval()
    losses, counts = [], []
    size = max(min(WINDOWS_PER_BATCH, LOGITS_AT_ONCE // (window * model.vocab_size)), 1)
    with torch.inference_mode(), autocast or nullcontext():
        for first in range(0, len(starts), size):
            batch = starts[first : first + size]
            positions = np.minimum(batch[:, None] + np.arange(window + 1), len(tokens) - 1)
            rows = torch.from_numpy(tokens[positions].astype(np.int64)).to(device)
            real = torch.from_numpy(batch[:, None] + np.arange(1, window + 1) < len(tokens))
            logits = model(rows[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="none").view(real.shape)
            losses.append((loss.cpu().double() * real).sum(1).numpy())  # Apple's GPUs have no float64
            counts.append(real.sum(1).numpy())
            if progress:
                progress.update(min(first + size, len(starts)))
    model.train(training)
    return np.concatenate(losses), np.concatenate(counts)


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
