"""Overfit one batch: a model and recipe that cannot memorize a single batch have a bug."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from gptcore.config.params import read_params, validate_section
from gptcore.config.paths import Paths
from gptcore.errors import UserError
from gptcore.model.config import ModelConfig
from gptcore.model.lora_config import LoraConfig
from gptcore.tokens.packing import UNCOUNTED
from gptcore.tokens.token_files import verify_tokens
from gptcore.training.batches import Batch, Batches, BatchSource
from gptcore.training.config import LAST_STEP, OptimConfig, TrainConfig
from gptcore.training.initial_state import make_ready, new_state
from gptcore.training.memory import keep_freed_memory
from gptcore.training.train import StepReport, fit

KNOWN_BY_HEART = 0.1  # nats per token above the minimum: nine of ten tokens are practically certain


class SameBatch(Batches):
    """Returns the first of the given batches at every step."""

    def __init__(self, batches: BatchSource) -> None:
        self.batch_size, self.block_size, self.first = batches.batch_size, batches.block_size, batches[0]

    def __getitem__(self, step: int) -> Batch:
        return self.first


def overfit(paths: Paths, steps: int) -> tuple[float, Iterator[StepReport]]:
    """Return the loss (nats per token) at which the batch counts as memorized, and an iterator over training steps.

    Trains as params.yaml says, but on the first batch only, with a schedule of `steps` steps and without dropout.
    Writes nothing. Raises UserError.
    """
    if steps > LAST_STEP:
        raise UserError(f"--steps {steps} is more than {LAST_STEP:,}")
    keep_freed_memory()
    values = read_params(paths.params)
    model = validate_section(values, "model", ModelConfig).model_copy(update={"dropout": 0.0})
    optim = validate_section(values, "optim", OptimConfig)
    changes = {"steps": steps, "spike_nats": 0.0}
    train = validate_section(values, "train", TrainConfig).model_copy(update=changes)
    verify_tokens(paths.tokens)
    lora = validate_section(values, "lora", LoraConfig)
    state = new_state(model, optim, train, paths, lora.if_any())
    make_ready(state)
    state.batches = SameBatch(state.batches)
    return least_loss(*state.batches[0]) + KNOWN_BY_HEART, fit(state)


def least_loss(ids: Tensor, targets: Tensor, starts: Tensor | None = None) -> float:
    """The lowest possible loss in nats per token: windows with a common prefix do not determine the next token.

    ids, targets (B, T); the mean of -log(share of the windows with this prefix in which this target follows). Records
    packed in windows (see packing.py) are taken one by one.
    """
    if starts is not None:
        ids, targets = _unpacked(ids, targets, starts)
    x, y = ids.numpy(), targets.numpy()
    is_counted = y >= 0
    base, total, beginnings = 1 + max(x.max(), y.max()) - UNCOUNTED, 0.0, np.zeros(len(x), np.int64)
    for position in range(x.shape[1]):
        _, beginnings = np.unique(beginnings * base + x[:, position], return_inverse=True)
        _, followed = np.unique(beginnings * base + y[:, position], return_inverse=True)
        shares = np.bincount(followed)[followed] / np.bincount(beginnings)[beginnings]
        total -= np.log(shares[is_counted[:, position]]).sum()
    return float(total / is_counted.sum())


def _unpacked(ids: Tensor, targets: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Each record in a row of its own, filled up with targets that are not counted."""
    is_first = starts == torch.arange(starts.size(1))
    row = is_first.flatten().cumsum(0) - 1
    places = row, (torch.arange(starts.size(1)) - starts).flatten()
    shape = int(row[-1]) + 1, starts.size(1)
    apart = [torch.full(shape, fill) for fill in (0, UNCOUNTED)]
    for each, packed in zip(apart, (ids, targets), strict=True):
        each[places] = packed.flatten()
    return apart[0], apart[1]
