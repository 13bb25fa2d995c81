"""The two sides: nanoGPT's own model, optimizer and training step against ours, at the same size and batch."""

import math
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from gptcore.config.params import validate_section
from gptcore.config.presets import compose
from gptcore.model.config import ModelConfig
from gptcore.model.counts import counts
from gptcore.training.config import OptimConfig, TrainConfig
from gptcore.training.initial_state import make_ready
from gptcore.training.memory import keep_freed_memory
from gptcore.training.train import TrainState, fit

ROOT = Path(__file__).parents[1]
Tokens = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class Setting:
    """Model and batch sizes, such as those of nanoGPT's two Shakespeare recipes."""

    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    batch_size: int
    vocab_size: int
    dropout: float = 0.0
    micro_batch: int = 0  # sequences per micro-batch; 0: nanoGPT's whole batch, and what a run of ours chooses

    @property
    def batch_tokens(self) -> int:
        return self.batch_size * self.block_size

    def flops_per_token(self) -> int:
        """Of GPT-2's architecture at this size, which both sides train: forward and backward."""
        params = compose(["model=nano", "architecture=gpt2", *self.overrides()], ROOT / "params.yaml")
        return counts(validate_section(params, "model", ModelConfig), self.vocab_size).flops_per_token

    def overrides(self) -> list[str]:
        names = ("n_layer", "n_head", "n_embd", "block_size", "dropout")
        batches = [f"{side}.batch_tokens={self.batch_tokens}" for side in ("train", "baseline")]  # of whole windows
        return [*(f"model.{name}={getattr(self, name)}" for name in names), *batches]


@dataclass
class Side:
    """One side's training run. `step()` trains on a batch and returns its loss."""

    model: torch.nn.Module
    steps: Iterator[float]

    def step(self) -> float:
        return next(self.steps)

    def logits(self, ids: torch.Tensor) -> torch.Tensor:
        # nanoGPT returns the logits of all positions only when given targets
        is_ours = hasattr(self.model, "flops_per_token")
        logits: torch.Tensor = self.model(ids) if is_ours else self.model(ids, ids)[0]
        return logits


def faithful(
    setting: Setting, tokens: Tokens, steps: int, learning_rate: float, beta2: float, precision: str, seed: int
) -> Side:
    """nanoGPT's recipe in our trainer, with random crops: the stand-in for its code."""
    rates = [f"optim.{part}_learning_rate={learning_rate}" for part in ("matrix", "embedding", "head", "scalar")]
    recipe = ["train.order=crops", f"optim.adam_betas=[0.9,{beta2}]", *rates]
    return gptcore_side("gpt2", setting, tokens, steps, precision, [*recipe, f"train.seed={seed}"])


def gptcore_side(
    architecture: str, setting: Setting, tokens: Tokens, steps: int, precision: str, recipe: list[str] | None = None
) -> Side:
    """Our side through `fit`, the loop of `train`, with its guard and a run's allocator settings."""
    keep_freed_memory()
    optim = {"gpt2": "adamw", "modern": "muon"}[architecture]
    bias = ["model.bias=false"]  # nanoGPT's default
    choices = ["model=nano", f"architecture={architecture}", f"optim={optim}", *bias, *setting.overrides()]
    length = [f"train.steps={steps}", f"train.precision={precision}"]
    params = compose([*choices, *length, *(recipe or [])], ROOT / "params.yaml")
    state = TrainState(
        validate_section(params, "model", ModelConfig), validate_section(params, "optim", OptimConfig),
        validate_section(params, "train", TrainConfig), tokens, setting.vocab_size, device(),
    )  # fmt: skip
    if device().type == "cuda":
        state.model.compile_blocks()
    if setting.micro_batch:
        state.micro_batch = setting.micro_batch
    else:
        make_ready(state)  # as a run does
    losses = (report.loss for report in fit(state))
    return Side(state.model, losses)


def nanogpt_side(
    folder: Path | None, setting: Setting, tokens: Tokens, steps: int, precision: str,
    learning_rate: float = 1e-3, beta2: float = 0.99, seed: int = 1337,
) -> Side:  # fmt: skip
    """nanoGPT's model and optimizer from `folder`, in its train.py's loop; compiled and with TF32 on a GPU.

    bfloat16 is torch.autocast, as its train.py has it on a GPU. On a CPU, it knows float32 only.
    """
    if folder is None:
        return faithful(setting, tokens, steps, learning_rate, beta2, precision, seed)
    sys.path.insert(0, str(folder))
    from model import GPT, GPTConfig  # type: ignore[import-not-found]

    torch.manual_seed(seed)
    names = ("n_layer", "n_head", "n_embd", "block_size", "vocab_size", "dropout")
    model = GPT(GPTConfig(**{name: getattr(setting, name) for name in names}, bias=False)).to(device())
    optimizer = model.configure_optimizers(0.1, learning_rate, (0.9, beta2), device().type)
    bfloat16 = precision == "bfloat16"
    autocast = torch.autocast(device().type, torch.bfloat16) if bfloat16 else nullcontext()
    if device().type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        model = torch.compile(model)
    return Side(model, _nanogpt_steps(model, optimizer, autocast, setting, tokens, steps, learning_rate))


def _nanogpt_steps(
    model: Any, optimizer: Any, autocast: AbstractContextManager[object],
    setting: Setting, tokens: Tokens, steps: int, learning_rate: float, warmup_steps: int = 100,
) -> Iterator[float]:  # fmt: skip
    """As its train.py: random crops, warm-up, cosine decay to a tenth, micro-batches, gradient clipping at 1."""
    size = setting.micro_batch or setting.batch_size
    micro_steps = setting.batch_size // size
    for step in range(steps):
        progress = (step - warmup_steps) / max(steps - warmup_steps, 1)
        cosine = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * ((step + 1) / (warmup_steps + 1) if step < warmup_steps else cosine)
        for _ in range(micro_steps):
            x, y = _crops(tokens, setting.block_size, size)
            with autocast:
                _, loss = model(x, y)
                loss = loss / micro_steps
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield loss.item() * micro_steps


def _crops(tokens: Tokens, length: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    starts = torch.randint(len(tokens) - length, (size,)).tolist()
    x = torch.stack([torch.from_numpy(tokens[i : i + length].astype(np.int64)) for i in starts])
    y = torch.stack([torch.from_numpy(tokens[i + 1 : i + 1 + length].astype(np.int64)) for i in starts])
    if device().type == "cuda":
        return x.pin_memory().to("cuda", non_blocking=True), y.pin_memory().to("cuda", non_blocking=True)
    return x, y


def timed(side: Side, steps: int) -> list[float]:
    """Run `steps` steps and return the seconds each took."""
    seconds = []
    for _ in range(steps):
        started = time.perf_counter()
        side.step()
        seconds.append(time.perf_counter() - started)
    return seconds


def validation_loss(side: Side, val: Tokens, length: int, windows: int, windows_per_batch: int = 64) -> float:
    """Mean loss in nats of `windows` windows of `length` tokens spread evenly over `val`; in float32 on both sides."""
    starts = np.linspace(0, len(val) // length - 2, windows).round().astype(np.int64) * length
    side.model.eval()
    losses = []
    with torch.no_grad():
        for first in range(0, windows, windows_per_batch):
            positions = starts[first : first + windows_per_batch, None] + np.arange(length + 1)
            rows = torch.from_numpy(val[positions].astype(np.int64)).to(device())
            logits = side.logits(rows[:, :-1].contiguous())
            losses.append(F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="sum").item())
    return sum(losses) / (windows * length)


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
