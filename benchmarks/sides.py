"""The two sides: nanoGPT's own model, optimizer and step on one, ours on the other, at the same size and batch."""

import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel

from gptcore.memory import keep_freed_memory
from gptcore.model import ModelConfig
from gptcore.optim import OptimConfig
from gptcore.presets import compose
from gptcore.train import TrainConfig, TrainState, fit

ROOT = Path(__file__).parents[1]
Tokens = NDArray[np.unsignedinteger[Any]]
Config = TypeVar("Config", bound=BaseModel)


@dataclass(frozen=True)
class Setting:
    """A model and its batch. nanoGPT's own figures for its two Shakespeare recipes."""

    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    batch_size: int
    vocab_size: int
    dropout: float = 0.0

    @property
    def batch_tokens(self) -> int:
        return self.batch_size * self.block_size

    def overrides(self) -> list[str]:
        names = ("n_layer", "n_head", "n_embd", "block_size", "dropout")
        return [f"model.{name}={getattr(self, name)}" for name in names] + [f"train.batch_tokens={self.batch_tokens}"]


@dataclass
class Side:
    """One of the two, training. `step()` takes a batch and returns its loss."""

    model: torch.nn.Module
    steps: Iterator[float]
    autocast: AbstractContextManager[object]
    parameters: int

    def step(self) -> float:
        return next(self.steps)

    def logits(self, ids: torch.Tensor) -> torch.Tensor:
        # nanoGPT gives all positions' logits only when it is given targets
        is_ours = hasattr(self.model, "flops_per_token")
        logits: torch.Tensor = self.model(ids) if is_ours else self.model(ids, ids)[0]
        return logits


def faithful(setting: Setting, tokens: Tokens, steps: int, learning_rate: float = 1e-3) -> Side:
    """nanoGPT's recipe through our trainer, in float32 and with random crops: the stand-in for its code."""
    rates = [f"optim.{part}_learning_rate={learning_rate}" for part in ("matrix", "embedding", "head", "scalar")]
    recipe = ["train.order=crops", "train.precision=float32", *rates]
    return gptcore_side("gpt2", setting, tokens, steps, recipe)


def gptcore_side(
    architecture: str, setting: Setting, tokens: Tokens, steps: int, recipe: list[str] | None = None
) -> Side:
    """Ours through `fit`, the loop that `train` runs, guard and all, with the allocator as a run sets it."""
    keep_freed_memory()
    optim = {"gpt2": "adamw", "modern": "muon"}[architecture]
    bias = ["model.bias=false"]  # nanoGPT's default
    choices = ["model=nano", f"architecture={architecture}", f"optim={optim}", *bias, *setting.overrides()]
    params = compose([*choices, f"train.steps={steps}", *(recipe or [])], ROOT / "params.yaml")
    state = TrainState(
        _section(params, "model", ModelConfig), _section(params, "optim", OptimConfig),
        _section(params, "train", TrainConfig), tokens, setting.vocab_size, device(),
    )  # fmt: skip
    losses = (report.loss for report in fit(state))
    return Side(state.model, losses, state.autocast(), state.model.parameter_count())


def nanogpt_side(
    folder: Path | None, setting: Setting, tokens: Tokens, steps: int, learning_rate: float = 1e-3
) -> Side:
    """nanoGPT's model and optimizer from `folder`, in the loop of its train.py."""
    if folder is None:
        return faithful(setting, tokens, steps, learning_rate)
    sys.path.insert(0, str(folder))
    from model import GPT, GPTConfig  # type: ignore[import-not-found]

    torch.manual_seed(1337)
    names = ("n_layer", "n_head", "n_embd", "block_size", "vocab_size", "dropout")
    model = GPT(GPTConfig(**{name: getattr(setting, name) for name in names}, bias=False)).to(device())
    optimizer = model.configure_optimizers(0.1, learning_rate, (0.9, 0.99), device().type)
    losses = _nanogpt_steps(model, optimizer, setting, tokens, steps, learning_rate)
    return Side(model, losses, nullcontext(), sum(each.numel() for each in model.parameters()))


def _nanogpt_steps(
    model: Any,
    optimizer: Any,
    setting: Setting,
    tokens: Tokens,
    steps: int,
    learning_rate: float,
    warmup_steps: int = 100,
) -> Iterator[float]:
    """What its train.py does on a CPU: random crops, cosine from 100 steps of warm-up to a tenth, clipping at 1."""
    length = setting.block_size
    for step in range(steps):
        progress = (step - warmup_steps) / max(steps - warmup_steps, 1)
        cosine = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * ((step + 1) / (warmup_steps + 1) if step < warmup_steps else cosine)
        starts = torch.randint(len(tokens) - length, (setting.batch_size,)).tolist()
        x = torch.stack([torch.from_numpy(tokens[i : i + length].astype(np.int64)) for i in starts])
        y = torch.stack([torch.from_numpy(tokens[i + 1 : i + 1 + length].astype(np.int64)) for i in starts])
        _, loss = model(x.to(device()), y.to(device()))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield loss.item()


def timed(side: Side, steps: int) -> list[float]:
    """Seconds of each of `steps` steps."""
    seconds = []
    for _ in range(steps):
        started = time.perf_counter()
        side.step()
        seconds.append(time.perf_counter() - started)
    return seconds


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _section(params: dict[str, Any], name: str, kind: type[Config]) -> Config:
    return kind.model_validate_json(json.dumps(params[name]))
