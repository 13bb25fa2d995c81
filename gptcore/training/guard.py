"""When a loss is no number or jumps: back to the last good state, and on without that batch.

A copy of the whole state is kept in memory, by the step and never by the clock. After a bad batch training goes back to
that copy and through the same batches again, the bad one left out. Every step is a pure function of the state, the
batch and (seed, step), so it arrives where a run without that batch would be, to the bit, wherever the copy was taken:
a run that was killed and resumed in between has another copy and the same result.
"""

import math
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from gptcore.errors import UserError
from gptcore.training.sharding import own_part

# A copy moves 12 bytes a parameter: every 50 steps that is under a hundredth of training's time at any size, and going
# back repeats 25 steps on average.
STEPS_BETWEEN_COPIES = 50
LOSSES = 20  # a spike stands out from the mean of so many batches: it tells noise from a jump, and follows the fall


@dataclass(frozen=True)
class SkippedBatch:
    step: int  # the step that it would have been, 1-based
    batch: int  # its place in the order of batches, 0-based
    loss: float  # nats per token
    back_to: int  # steps done of the state from which training went on

    def __str__(self) -> str:
        return (
            f"the loss is {self.loss:.4g} at step {self.step:,}: "
            f"went back to step {self.back_to:,} and on without batch {self.batch:,}"
        )


class Guard:
    """Which batches are left out, and what the last losses were."""

    def __init__(self, spike_nats: float, skipped_batches_limit: int) -> None:
        self.spike_nats, self.limit = spike_nats, skipped_batches_limit
        self.skipped: list[int] = []
        self.losses = deque([math.nan] * LOSSES, LOSSES)

    def batch_of(self, step: int) -> int:
        """The batch that `step` (0-based) sees: the batches in order, without the skipped ones."""
        batch = step
        for each in sorted(self.skipped):
            batch += each <= batch
        return batch

    def accepts(self, loss: float, gradient: float) -> bool:
        """Whether both are numbers and the loss (nats per token) is no spike."""
        if not (math.isfinite(loss) and math.isfinite(gradient)):
            return False
        # until there are enough losses their mean is no number, and nothing is greater than that
        return not (self.spike_nats and loss > sum(self.losses) / LOSSES + self.spike_nats)

    def skip(self, batch: int, step: int, loss: float) -> None:
        """Leave `batch` out from now on. Raises UserError when that would be one too many."""
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
    """A copy of named tensors in the computer's memory; taken again, it overwrites itself."""

    def __init__(self) -> None:
        self.step, self.tensors = 0, dict[str, Tensor]()

    def take(self, tensors: dict[str, Tensor], step: int) -> None:
        """Queued behind the work that makes the tensors: a GPU's caller does not wait for it."""
        self.step = step
        for name, each in tensors.items():
            each = own_part(each.detach())
            if name not in self.tensors or self.tensors[name].shape != each.shape:
                self.tensors[name] = torch.empty_like(each, device="cpu", pin_memory=each.is_cuda)
            self.tensors[name].copy_(each, non_blocking=True)
