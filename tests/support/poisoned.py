"""The train stage with one batch of impossible targets, a loss spike: `python -m tests.support.poisoned`."""

import torch
from torch import Tensor

from gptcore.stages.run_stage import run_stage
from gptcore.stages.train import train
from gptcore.training.batches import Batches

BATCH = 40
sound = Batches.__getitem__


def poisoned(batches: Batches, batch: int) -> tuple[Tensor, Tensor]:
    ids, targets = sound(batches, batch)
    return ids, torch.full_like(targets, 255) if batch == BATCH else targets


if __name__ == "__main__":
    Batches.__getitem__ = poisoned  # type: ignore[method-assign]
    run_stage(train)
