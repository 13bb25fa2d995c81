"""One training run as a generator of step reports. No files here, no clock, no printing: see run.py."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from gptcore.batches import Batches, Order
from gptcore.errors import UserError
from gptcore.model import GPT, ModelConfig
from gptcore.optim import OptimConfig, Optimizer, bfloat16_is_fast_on_cpu
from gptcore.params import Section

Precision = Literal["auto", "bfloat16", "float32"]


class TrainConfig(Section):
    seed: int = Field(ge=0, description="Of weights, data order and dropout")
    steps: int = Field(gt=0, description="Optimizer steps")
    batch_tokens: int = Field(gt=0, description="Tokens per step, over all devices; a multiple of model.block_size")
    order: Order = Field(description="epochs: every window once per epoch; crops: nanoGPT's random crops")
    precision: Precision = Field(description="Of matrix products; auto is bfloat16 where the hardware has it")
    samples: int = Field(ge=0, description="How often in the run text is sampled, evenly spaced")
    sample_prompt: str = Field(description="What the samples go on from; empty starts a document")
    sample_tokens: int = Field(ge=0, description="Tokens per sample")


@dataclass(frozen=True)
class StepReport:
    step: int  # steps done
    loss: float  # nats per token, mean of the batch
    learning_rate_factor: float  # of each group's peak


class TrainState:
    """All that a run has in memory: weights, optimizer, step and random stream."""

    def __init__(
        self, model: ModelConfig, optim: OptimConfig, train: TrainConfig,
        tokens: NDArray[np.unsignedinteger], vocab_size: int, device: torch.device,
    ) -> None:  # fmt: skip
        batch_size, rest = divmod(train.batch_tokens, model.block_size)
        if rest:
            raise UserError(f"batch_tokens {train.batch_tokens} is not a multiple of block_size {model.block_size}")
        if len(tokens) <= 2 * model.block_size:
            raise UserError(f"block_size {model.block_size} is too long for {len(tokens):,} training tokens")
        torch.manual_seed(train.seed)
        self.device, self.steps, self.step = device, train.steps, 0
        self.model = GPT(model, vocab_size, train.seed).to(device)
        self.optimizer = Optimizer(optim, self.model, train.steps)
        self.batches = Batches(tokens, model.block_size, batch_size, train.order, train.seed)
        self.bfloat16 = uses_bfloat16(train.precision, device)

    def autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.bfloat16 else nullcontext()

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a resumed run needs, by name."""
        weights = {f"model/{name}": each for name, each in self.model.named_parameters()}
        moments = {f"optimizer/{name}": each for name, each in self.optimizer.tensors(self.model).items()}
        random = {"random/cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            random["random/cuda"] = torch.cuda.get_rng_state(self.device)
        return weights | moments | random

    def load_tensors(self, tensors: dict[str, Tensor], step: int) -> None:
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(tensors[f"model/{name}"])
        moments = {
            name.removeprefix("optimizer/"): each for name, each in tensors.items() if name.startswith("optimizer/")
        }
        self.optimizer.load_tensors(self.model, moments)
        torch.set_rng_state(tensors["random/cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random/cuda"], self.device)
        self.step = step


def uses_bfloat16(precision: Precision, device: torch.device) -> bool:
    if precision == "auto":
        return torch.cuda.is_bf16_supported() if device.type == "cuda" else bfloat16_is_fast_on_cpu()
    return precision == "bfloat16"


def fit(state: TrainState, micro_batch: int = 0) -> Iterator[StepReport]:
    """Train from `state.step` to the end. After each report `state` is whole and may be saved.

    `micro_batch` sequences go through at once (0: all); gradients add up to those of the whole batch.
    Raises UserError when the loss is no longer a number.
    """
    state.model.train()
    while state.step < state.steps:
        ids, targets = (each.to(state.device, non_blocking=True) for each in state.batches[state.step])
        loss = 0.0
        for part, part_targets in zip(
            ids.split(micro_batch or len(ids)), targets.split(micro_batch or len(ids)), strict=True
        ):
            with state.autocast():
                part_loss = state.model(part, part_targets) * (len(part) / len(ids))
            part_loss.backward()
            loss += part_loss.item()
        if not math.isfinite(loss):
            raise UserError(f"the loss is {loss} at step {state.step + 1}; lower the learning rates")
        factor = state.optimizer.step(state.step)
        state.step += 1
        yield StepReport(state.step, loss, factor)
