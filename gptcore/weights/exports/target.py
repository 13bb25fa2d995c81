"""What a target of `gptcore export` is, and the program that reads the result."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gptcore.errors import UserError
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.tokens.tokenizer import Tokenizer

# ids (B, T) -> logits of their last positions (B, 1 to T, V)
Logits = Callable[[Tensor], Tensor]
# (ids, the id before each row, the cache or None) -> logits and the new cache
Step = Callable[[Tensor, Tensor, Any], tuple[Tensor, Any]]


@dataclass(frozen=True)
class Limits:
    """What a result may differ by to be kept. `logits` is None where weights were rounded."""

    logits: float | None
    bits_per_byte: float


EXACT = Limits(logits=1e-3, bits_per_byte=1e-4)  # other kernels, the same weights; a wrong operation gives 0.1 and more


@dataclass(frozen=True)
class Consumer:
    """A program that has opened the result. `ways` are the ways to ask it for logits.

    With `normalized` it gives log-probabilities instead. `longest` is its longest prompt; 0: the context. `losses` of
    windows (W, T + 1) are in nats, NaN where it gives none; without, they come from the first of `ways`. `encode` is
    its tokenizer, `checks` what else must hold.
    """

    name: str
    version: str
    ways: dict[str, Logits]
    normalized: bool = False
    longest: int = 0
    losses: Callable[[Tensor], Tensor] | None = None
    encode: Callable[[str], Sequence[int]] | None = None
    checks: dict[str, Callable[[Tensor], bool]] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """`refuse` raises UserError for a model that the form has no words for, before any work."""

    packages: tuple[str, ...]
    limits: Limits
    refuse: Callable[[ModelConfig, Tokenizer], None]
    write: Callable[[Path, GPT, Tokenizer], None]
    opened: Callable[[Path, GPT], AbstractContextManager[Consumer]]


def refuse_nothing(config: ModelConfig, tokenizer: Tokenizer) -> None:
    """Of a form that can say every architecture."""


def require(target: str, packages: Sequence[str]) -> None:
    """Raises UserError that names the extra."""
    if missing := [name for name in packages if find_spec(name) is None]:
        raise UserError(f"--to {target} needs {' and '.join(missing)}: pip install 'gptcore[export]'")


def with_and_without_cache(step: Step) -> dict[str, Logits]:
    """Whole prompts at once, and in three parts, the last of them one id."""

    def whole(ids: Tensor) -> Tensor:
        return step(ids, torch.zeros_like(ids[:, :1]), None)[0]

    def in_parts(ids: Tensor) -> Tensor:
        length, parts, cache = ids.size(1), [], None
        edges = sorted({0, length // 2, length - 1, length})
        for first, last in pairwise(edges):
            previous = ids[:, first - 1 : first] if first else torch.zeros_like(ids[:, :1])
            logits, cache = step(ids[:, first:last], previous, cache)
            parts.append(logits)
        return torch.cat(parts, dim=1)

    return {"without cache": whole, "with cache": in_parts}
