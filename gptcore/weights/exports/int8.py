"""A model folder with weights in 8 bits, for `gptcore sample --int8` and `python -m serving --int8`."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gptcore.generation.cached_model import CachedModel, Pass
from gptcore.model.folder import load_export, save_export
from gptcore.model.gpt import GPT
from gptcore.model.int8 import packed, to_int8
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.weights.exports.target import Consumer, Limits, Target, refuse_nothing, with_and_without_cache

ROUNDED = Limits(logits=None, bits_per_byte=1e-2)


def target(kind: str) -> Target:
    return Target((), ROUNDED, refuse_nothing, _write, _opened)


def _write(folder: Path, model: GPT, tokenizer: Tokenizer) -> None:
    save_export(folder, model, tokenizer, packed(model))


@contextmanager
def _opened(folder: Path, model: GPT) -> Iterator[Consumer]:
    """As a sample or the server computes it: the engine's model, which has a cache."""
    rounded = to_int8(load_export(folder)[0])

    def step(ids: Tensor, previous: Tensor, cache: Any) -> tuple[Tensor, Any]:
        cached, first = cache or (CachedModel(rounded, len(ids)), 0)
        last = first + ids.size(1)
        positions = torch.arange(first, last).repeat(len(ids))
        places = positions + cached.places * torch.arange(len(ids)).repeat_interleave(last - first)
        before = torch.cat((previous, ids[:, :-1]), dim=1)
        new = Pass(ids.flatten(), before.flatten(), positions, places, 0, len(ids), ids.size(1), len(ids), keys=last)
        return cached.logits(cached.forward(new)).view(*ids.shape, -1), (cached, last)

    yield Consumer("gptcore", version("gptcore"), with_and_without_cache(step))
