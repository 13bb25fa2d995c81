"""One training run as a generator of step reports. Files, timing and printing are in run.py."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.amp import GradScaler

from gptcore.errors import UserError
from gptcore.model.config import ModelConfig
from gptcore.model.counts import counts
from gptcore.model.gpt import GPT
from gptcore.model.lora import adapt, trained
from gptcore.model.lora_config import LoraConfig
from gptcore.ranks import distributed
from gptcore.tokens.token_files import Tokens
from gptcore.training import sharding
from gptcore.training.batches import Batch, Batches, BatchSource, prepared
from gptcore.training.config import OptimConfig, Precision, TrainConfig
from gptcore.training.guard import STEPS_BETWEEN_COPIES, Copy, Guard, SkippedBatch
from gptcore.training.hardware import multiplies_bfloat16
from gptcore.training.host_copy import finish_before_writing
from gptcore.training.optim import Optimizer


@dataclass(frozen=True)
class StepReport:
    step: int  # steps done
    loss: float  # nats per token, mean of the batch
    learning_rate_factor: float  # of each group's peak
    skipped: tuple[SkippedBatch, ...]  # since the previous report
    micro_batch: int  # sequences per forward pass; smaller than before where memory ran out


class TrainState:
    """The full in-memory state of a run: weights, optimizer, step, and the guard's state.

    `micro_batch` sequences go through the model at once. It is part of the state, as another size changes float sums.

    There is no random-generator state: batches and dropout are pure functions of the seed and the step.
    """

    def __init__(
        self, model: ModelConfig, optim: OptimConfig, train: TrainConfig,
        tokens: Tokens, vocab_size: int, device: torch.device,
        documents: NDArray[np.int64] | None = None, compiler: str | None = None,
        start: GPT | None = None, lora: LoraConfig | None = None,
    ) -> None:  # fmt: skip
        """`compiler` is a backend of torch.compile; None compiles nothing. Raises UserError.

        `start` has the weights to begin with; without it they are drawn from the seed. With `lora` they are frozen, and
        an adapter of them is trained.
        """
        batch_size, rest = divmod(train.batch_tokens, model.block_size)
        if rest:
            raise UserError(f"batch_tokens {train.batch_tokens} is not a multiple of block_size {model.block_size}")
        if batch_size < distributed.count():
            raise UserError(
                f"a batch of {batch_size} sequences is too small for {distributed.count()} ranks; "
                f"raise batch_tokens or set GPTCORE_RANKS={batch_size}"
            )
        if len(tokens) <= 2 * model.block_size:
            raise UserError(f"block_size {model.block_size} is too long for {len(tokens):,} training tokens")
        self.device, self.steps, self.step, self.seed = device, train.steps, 0, train.seed
        self.model = start or GPT(model, vocab_size, train.seed)
        self.counts = counts(model, vocab_size, lora.ranks if lora else None)
        if lora:
            self._adapt(lora)
        self.model.to(device)
        self.dtype = matrix_dtype(train.precision, device)
        self.spread = sharding.wrap(self.model, device, compiler, self.dtype)
        self.optimizer = Optimizer(optim, self.model, train.steps, self.dtype, lora)
        self.batches: BatchSource = Batches(tokens, model.block_size, batch_size, train.order, train.seed, documents)
        self.micro_batch = batch_size
        self.reads_late = device.type == "cuda"  # a CPU has done the step when it returns
        self.guard = Guard(train.spike_nats, train.skipped_batches_limit)
        # scales float16 gradients so that small ones do not underflow, and skips steps whose gradients overflow
        self.scaler = GradScaler(device.type, enabled=self.dtype == torch.float16)

    def _adapt(self, lora: LoraConfig) -> None:
        if sharding.parts() > 1:
            raise UserError(
                "an adapter is too small to be split over ranks, and its base stays whole: set GPTCORE_SHARDING=ddp, "
                "or lora.rank=0 to train all weights"
            )
        adapt(self.model, lora, self.seed)

    def autocast(self) -> AbstractContextManager[object]:
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype)

    def tensors(self) -> dict[str, Tensor]:
        """Everything needed to resume, by name; no weight that is frozen."""
        weights = {f"model/{name}": each for name, each in trained(self.model).items()}
        moments = {f"optimizer/{name}": each for name, each in self.optimizer.tensors(self.model).items()}
        guard = {f"guard/{name}": each for name, each in self.guard.tensors().items()}
        scaler = {f"scaler/{name}": torch.tensor(each) for name, each in self.scaler.state_dict().items()}
        batches = self.batches.tensors(self.guard.batch_of(self.step))
        places = {f"batches/{name}": each for name, each in batches.items()}
        return weights | moments | guard | scaler | places | {"micro_batch": torch.tensor(self.micro_batch)}

    def model_on_first(self) -> GPT | None:
        """The model with whole weights on the first rank, None on the others; every rank must call it."""
        if not sharding.in_parts(self.model.wte.weight):
            return self.model if distributed.is_first() else None
        weights = sharding.tensors_on_first(dict(self.model.named_parameters()))
        if not weights:
            return None
        whole = GPT(self.model.config, self.model.vocab_size, seed=None)
        whole.load_state_dict(weights, strict=False)  # a tied head is stored once
        return whole.to(self.device)

    def load_tensors(self, tensors: dict[str, Tensor], step: int) -> None:
        """Restore the state that `tensors()` returned at `step`. The optimizer may take ownership of the tensors."""
        with torch.no_grad():
            for name, parameter in trained(self.model).items():
                parameter.copy_(sharding.laid_out_as(tensors[f"model/{name}"], parameter))
        for each in self.optimizer.optimizers:
            each.state.clear()
        self.optimizer.load_tensors(self.model, _under("optimizer/", tensors))
        self.guard.load_tensors(_under("guard/", tensors))
        self.batches.load_tensors(_under("batches/", tensors))
        self.scaler.load_state_dict({name: each.item() for name, each in _under("scaler/", tensors).items()})
        self.step, self.micro_batch = step, int(tensors["micro_batch"])

    def go_back(self, copy: Copy) -> None:
        """Restore the state of `copy`, but keep the list of skipped batches and the micro-batch."""
        skipped, micro_batch = self.guard.skipped, self.micro_batch
        self.model.zero_grad(set_to_none=True)
        finish_before_writing()
        self.load_tensors(copy.tensors(sharding.in_parts(self.model.wte.weight)), copy.step)
        self.guard.skipped, self.micro_batch = skipped, micro_batch

    def free_gradients(self) -> None:
        """Free the gradients, and on a GPU what the allocator holds for other sizes of micro-batch."""
        self.model.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}


def matrix_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Raises UserError for float16 anywhere but on a CUDA GPU."""
    if precision == "float16" and device.type != "cuda":
        raise UserError("train.precision float16 needs a CUDA GPU; auto is the fastest that this processor has")
    if precision != "auto":
        return {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}[precision]
    if multiplies_bfloat16(device):
        return torch.bfloat16
    return torch.float16 if device.type == "cuda" else torch.float32


def step_seed(seed: int, step: int, rank: int) -> int:
    """A 63-bit dropout seed for one step on one rank: nothing to save, and a resumed run draws the same numbers."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0] >> 1)


def loss_and_gradients(state: TrainState, batch: Batch, micro_batch: int) -> Tensor:
    """Forward and backward of a batch, `micro_batch` sequences at once; accumulates gradients.

    A part counts by its share of the targets that have a loss, so any parts make the mean over the whole batch. Each
    rank computes its share; afterwards every rank has the gradients of the whole batch. Returns a tensor (2,)
    without waiting for the device: the loss in nats per token and the sum of one gradient. The gradient is one of the
    first block: a NaN in the backward pass of any later layer reaches it, so the others need not be read. With a scaler
    the sum is 0, as the scaler checks all gradients.
    """
    loss = torch.zeros((), device=state.device)
    counted = (batch[1] >= 0).sum(1)
    parts = distributed.micro_batches(len(counted), micro_batch)
    for number, part in enumerate(parts, start=1):
        rows = part if part.stop > part.start else slice(1)  # an empty part still runs one row, with weight 0
        pinned = state.device.type == "cuda"
        part_batch = [each[rows].to(state.device, non_blocking=pinned) for each in batch]
        share = int(counted[part].sum()) / int(counted.sum())
        with sharding.gradients_exchanged(state.spread, now=number == len(parts)):
            with state.autocast():
                part_loss = state.spread(*part_batch) * share
            # ranks average their gradients; multiply to get the sum
            state.scaler.scale(part_loss * distributed.count()).backward()
        loss += part_loss.detach()
    gradient = next(each for each in state.model.h.parameters() if each.requires_grad).grad
    assert gradient is not None
    seen = torch.zeros_like(loss) if state.scaler.is_enabled() else sharding.own_part(gradient).sum()
    return distributed.total(torch.stack((loss, seen)))


def fit(state: TrainState) -> Iterator[StepReport]:
    """Train from `state.step` to the end. After each report, `state` is consistent and may be saved.

    After a bad batch, the steps since the last copy are repeated but not reported again: their results are the same.
    Out of memory, they are repeated with half the micro-batch, which changes the order of float sums. Raises UserError
    when more batches are bad than the run may skip, and when memory does not suffice.
    """
    state.model.train()
    reported, skipped, copy = state.step, list[SkippedBatch](), Copy()
    copy.take(state.tensors(), state.step)
    while state.step < state.steps:
        ran_out = False
        try:
            for report in _until_a_bad_batch(state, copy, skipped):
                if report.step > reported:
                    reported = report.step
                    yield report
                    skipped.clear()
        except torch.OutOfMemoryError:
            ran_out = True
        if ran_out:  # not above: the error's traceback keeps the tensors of the step alive
            _halve_micro_batch(state)
        if state.step < state.steps:
            state.go_back(copy)


def _halve_micro_batch(state: TrainState) -> None:
    """Raises UserError for a single sequence, and for several ranks: the others wait for this one's gradients."""
    size = min(state.micro_batch, distributed.largest_share(state.batches.batch_size))
    state.micro_batch = -(-size // 2)
    state.free_gradients()
    many = "one sequence" if size == 1 else f"{size} sequences"
    at_once = f"{many} of {state.batches.block_size} tokens at once"
    where = f"out of memory at step {state.step + 1:,} with {at_once}"
    if size == 1:
        raise distributed.error_here(f"{where}; lower model.block_size or set model.activation_checkpointing")
    if distributed.count() > 1:
        raise distributed.error_here(f"{where}; run it again with GPTCORE_MICRO_BATCH={state.micro_batch}")


def _until_a_bad_batch(state: TrainState, copy: Copy, skipped: list[SkippedBatch]) -> Iterator[StepReport]:
    """Train to the end or to the first bad batch, which is added to `skipped`; go back to the copy then.

    Where `state.reads_late`, the loss of a step is read when the next one's passes are queued, so that the device need
    not wait for the program. The weights are then still those of the step that is reported.
    """
    taken: _Step | None = None  # its loss is not read yet
    indices = map(state.guard.batch_of, range(state.step, state.steps))
    with closing(prepared(state.batches, indices, pin_memory=state.device.type == "cuda")) as batches:
        for index, batch in batches:
            number = state.step + (taken is not None)
            torch.manual_seed(step_seed(state.seed, number, distributed.rank()))
            step = _Step(index, loss_and_gradients(state, batch, state.micro_batch))
            if taken:
                if not (report := _count(state, taken, copy, skipped)):
                    return
                yield report
            # copy the weights only once this batch's loss confirms them; other steps do not wait for their loss here
            if state.step >= copy.step + STEPS_BETWEEN_COPIES and state.guard.accepts(*step.measured()):
                copy.take(state.tensors(), state.step)
            finish_before_writing()
            step.factor = state.optimizer.step(state.step, state.scaler)
            taken = step
            if not state.reads_late:
                if not (report := _count(state, taken, copy, skipped)):
                    return
                yield report
                taken = None
        if taken and (report := _count(state, taken, copy, skipped)):
            yield report


class _Step:
    """A step that is queued on the device: its loss and the sum of one gradient are on their way to host memory."""

    def __init__(self, batch: int, measured: Tensor) -> None:
        self.batch, self.factor = batch, 0.0
        self._measured = torch.empty(measured.shape, pin_memory=measured.is_cuda)
        self._measured.copy_(measured, non_blocking=measured.is_cuda)
        self._there = torch.cuda.Event() if measured.is_cuda else None
        if self._there:
            self._there.record()

    def measured(self) -> tuple[float, float]:
        if self._there:
            self._there.synchronize()
        loss, gradient = self._measured.tolist()
        return loss, gradient


def _count(state: TrainState, step: _Step, copy: Copy, skipped: list[SkippedBatch]) -> StepReport | None:
    """Count `step` as done if its loss is good; otherwise skip its batch. Raises UserError after too many of those."""
    loss, gradient = step.measured()
    if state.guard.accepts(loss, gradient):
        state.guard.losses.append(loss)
        state.step += 1
        return StepReport(state.step, loss, step.factor, tuple(skipped), state.micro_batch)
    state.guard.skip(step.batch, state.step + 1, loss)
    skipped.append(SkippedBatch(state.step + 1, step.batch, loss, copy.step))
    return None
