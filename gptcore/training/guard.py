"""Recover from a loss that is NaN, infinite or spikes: restore the last good state and skip that batch.

A copy of the whole state is kept in memory, refreshed by step count, never by wall-clock time. After a bad batch,
training restores the copy and repeats the same batches without the bad one. Each step is a pure function of the state,
the batch and (seed, step), so the result equals that of a run without that batch, bit for bit, whichever step the copy
is from: a run that was killed and resumed in between has a different copy and the same result.
"""

import math
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from gptcore.errors import UserError
from gptcore.ranks import distributed
from gptcore.training.host_copy import HostCopy
from gptcore.training.sharding import in_parts

# A copy moves 12 bytes per parameter: every 50 steps this takes less than 1% of training time at any size, and a
# rollback repeats 25 steps on average.
STEPS_BETWEEN_COPIES = 50
LOSSES = 20  # the mean of this many is the baseline for a spike: it averages out noise and still tracks the fall


@dataclass(frozen=True)
class SkippedBatch:
    step: int  # the step it would have been, 1-based
    batch: int  # its index in the order of batches, 0-based
    loss: float  # nats per token
    back_to: int  # step of the restored state

    def __str__(self) -> str:
        return (
            f"the loss is {self.loss:.4g} at step {self.step:,}: "
            f"went back to step {self.back_to:,} and on without batch {self.batch:,}"
        )


class Guard:
    """The skipped batches and the recent losses."""

    def __init__(self, spike_nats: float, skipped_batches_limit: int) -> None:
        self.spike_nats, self.limit = spike_nats, skipped_batches_limit
        self.skipped: list[int] = []
        self.losses = deque([math.nan] * LOSSES, LOSSES)

    def batch_of(self, step: int) -> int:
        """The batch for `step` (0-based): the batches in order, without the skipped ones."""
        batch = step
        for each in sorted(self.skipped):
            batch += each <= batch
        return batch

    def accepts(self, loss: float, gradient: float) -> bool:
        """Whether both are finite and the loss (nats per token) is not a spike."""
        if not (math.isfinite(loss) and math.isfinite(gradient)):
            return False
        # the mean is NaN until there are enough losses, and no loss is greater than NaN
        return not (self.spike_nats and loss > sum(self.losses) / LOSSES + self.spike_nats)

    def skip(self, batch: int, step: int, loss: float) -> None:
        """Skip `batch` from now on. Raises UserError when the limit is already reached."""
        if len(self.skipped) == self.limit:
            raise UserError(
                f"the loss is {loss:.4g} at step {step:,}, and train.skipped_batches_limit is {self.limit}: "
                "lower the learning rates, or raise the limit if the data is to blame"
            )
        self.skipped.append(batch)

    def tensors(self) -> dict[str, Tensor]:
        return {"losses": torch.tensor(self.losses, dtype=torch.float64), "skipped": torch.tensor(self.skipped).long()}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        self.losses = deque(tensors["losses"].tolist(), LOSSES)
        self.skipped = tensors["skipped"].tolist()


class Copy:
    """A state to go back to, in host memory: the first rank's, and of a sharded state each rank's own part."""

    def __init__(self) -> None:
        self.step, self._copy = 0, HostCopy()

    def take(self, tensors: dict[str, Tensor], step: int) -> None:
        self.step = step
        if distributed.is_first() or any(in_parts(each) for each in tensors.values()):
            self._copy.take(tensors)

    def tensors(self, in_parts: bool) -> dict[str, Tensor]:
        """The tensors for a state to take over. Every rank must call it if the state is not `in_parts`."""
        self._copy.wait()
        held = {name: each.clone() for name, each in self._copy.tensors.items()}
        return held if in_parts else distributed.tensors_from_first(held)
