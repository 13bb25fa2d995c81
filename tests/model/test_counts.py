"""Parameters against the published numbers and closed formulas, FLOPs against torch's own counter."""

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gptcore.config.presets import compose
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from tests.support.closure import ROOT
from tests.support.engine import GPT2, MODERN, model_config

GPT2_VOCAB = 50257
PUBLISHED = {  # Radford et al. 2019, counted in OpenAI's released weights
    "gpt2-124m": 124_439_808,
    "gpt2-350m": 354_823_168,
    "gpt2-774m": 774_030_080,
    "gpt2-1558m": 1_557_611_200,
}


def preset(name: str, architecture: str) -> ModelConfig:
    return ModelConfig(**compose([f"model={name}", f"architecture={architecture}"], ROOT / "params.yaml")["model"])


def count(config: ModelConfig, vocab_size: int) -> int:
    with torch.device("meta"):
        return GPT(config, vocab_size).parameter_count()


@pytest.mark.parametrize("name", PUBLISHED)
def test_gpt2_has_the_published_number_of_parameters(name: str) -> None:
    c = preset(name, "gpt2")
    assert count(c, GPT2_VOCAB) == PUBLISHED[name]
    tables = (GPT2_VOCAB + c.block_size) * c.n_embd
    block = 12 * c.n_embd**2 + 13 * c.n_embd  # 3 + 1 + 4 + 4 squares; 9 n_embd of biases, 4 of norms
    assert PUBLISHED[name] == tables + c.n_layer * block + 2 * c.n_embd


@pytest.mark.parametrize("name", ["nano", "baby", *PUBLISHED])
def test_modern_has_as_many_parameters_as_its_parts(name: str) -> None:
    c = preset(name, "modern")
    value_tables = c.n_layer // 2 if c.value_embeddings else 0
    tables = (
        2 + value_tables
    ) * GPT2_VOCAB * c.n_embd + c.bigram_buckets * c.n_embd  # embedding, head, values, bigrams
    scalars = 2 * c.n_layer + 2 * value_tables
    assert count(c, GPT2_VOCAB) == tables + 12 * c.n_layer * c.n_embd**2 + scalars


@pytest.mark.parametrize("values", [GPT2, MODERN], ids=["gpt2", "modern"])
@pytest.mark.parametrize("changes", [{}, {"n_layer": 3, "n_embd": 48, "block_size": 24}], ids=["small", "wider"])
def test_flops_are_those_that_torch_counts(values: dict[str, Any], changes: dict[str, Any]) -> None:
    """Forward and backward of whole rows. Attention counts all pairs, causal or not, as in PaLM's appendix B."""
    model = GPT(model_config(values, **changes), 50)
    rows = torch.zeros(3, model.config.block_size, dtype=torch.int64)
    # the math kernel is plain matrix products; the fused ones recompute some in the backward pass, which must not count
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(rows, rows).backward()
    assert counter.get_total_flops() == model.flops_per_token() * rows.numel()
