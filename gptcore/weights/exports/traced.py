"""The network with its cache as tensors in and out, and the shapes that may change: what torch.export traces."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gptcore.model.gpt import GPT
from gptcore.weights.exports.network import Network


class Traced(nn.Module):
    """`past` holds keys and values of each block in turn, (B, H, P, D) each; P is 0 at the start of a text.

    Returns logits (B, T, V) and the same list for P + T. `previous_ids` (B, 1), the ids before these, is an input of
    models with a bigram table alone.
    """

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.network = Network(model.config, model.vocab_size)
        self.network.load_state_dict(model.state_dict(), assign=True)
        if model.config.tied_head:
            self.network.lm_head.weight = self.network.wte.weight
        self.requires_grad_(False).eval()

    def forward(
        self, input_ids: Tensor, past: list[Tensor], previous_ids: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        present: list[Tensor] = []

        def store(layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
            joined = torch.cat((past[2 * layer], keys), dim=2), torch.cat((past[2 * layer + 1], values), dim=2)
            present.extend(joined)
            return joined

        length, new = past[0].shape[2], input_ids.shape[1]
        positions = torch.arange(length, length + new, device=input_ids.device)
        previous = input_ids[:, :1] if previous_ids is None else previous_ids
        return self.network(input_ids, previous, positions, length + new, store), present


def empty_cache(model: GPT, batch: int, length: int = 0) -> list[Tensor]:
    """A tensor of its own for each: a tracer takes one that is given twice for one input."""
    config = model.config
    shape = (batch, config.n_head, length, config.head_dim)
    return [torch.zeros(shape) for _ in range(2 * config.n_layer)]


def example(model: GPT, batch: Any, length: Any, past: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs to trace with, none of whose sizes is 1 or equal to another, and what the sizes that may change are."""
    inputs: dict[str, Any] = {
        "input_ids": torch.zeros(2, 3, dtype=torch.long),
        "past": empty_cache(model, batch=2, length=4),
    }
    sizes: dict[str, Any] = {
        "input_ids": {0: batch, 1: length},
        "past": [{0: batch, 2: past} for _ in inputs["past"]],
    }
    if model.config.bigram_buckets:
        inputs["previous_ids"], sizes["previous_ids"] = torch.zeros(2, 1, dtype=torch.long), {0: batch}
    return inputs, sizes


@contextmanager
def quiet() -> Iterator[None]:
    """Without torch's lines about what it is going to change, and what else could be installed."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        log.setLevel(level)
