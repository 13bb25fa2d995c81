"""Parameters against the published numbers and closed formulas, FLOPs against torch's own counter."""

import functools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gptcore.config.presets import compose, groups
from gptcore.model.config import ModelConfig
from gptcore.model.counts import counts
from gptcore.model.gpt import GPT
from gptcore.model.lora import adapt, trained
from gptcore.model.sizes import vocabulary
from tests.support.adapters import lora_config
from tests.support.closure import ROOT
from tests.support.engine import GPT2, MODERN, model_config

GPT2_VOCAB = 50257
PUBLISHED = {  # Radford et al. 2019, counted in OpenAI's released weights
    "gpt2-124m": 124_439_808,
    "gpt2-350m": 354_823_168,
    "gpt2-774m": 774_030_080,
    "gpt2-1558m": 1_557_611_200,
}
PRESETS = ["nano", "baby", *PUBLISHED]


@functools.cache
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


@pytest.mark.parametrize("vocab_size", [65, GPT2_VOCAB])
@pytest.mark.parametrize("architecture", ["gpt2", "modern"])
@pytest.mark.parametrize("name", PRESETS)
def test_the_formulas_count_what_the_model_has(name: str, architecture: str, vocab_size: int) -> None:
    c = preset(name, architecture)
    with torch.device("meta"):
        model = GPT(c, vocab_size)
    found = counts(c, vocab_size)
    assert found.parameters == model.parameter_count()
    assert found.blocks == sum(each.numel() for part in (model.h, model.ln_f) for each in part.parameters())


@given(st.data())
def test_the_formulas_hold_for_every_choice_of_fields(data: st.DataObject) -> None:
    values = {field: data.draw(st.sampled_from([GPT2[field], MODERN[field]])) for field in GPT2}
    c = model_config(values, n_layer=data.draw(st.integers(1, 5)))
    with torch.device("meta"):
        assert counts(c, 50).parameters == GPT(c, 50).parameter_count()


@pytest.mark.parametrize("architecture", ["gpt2", "modern"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_with_a_published_size_has_about_that_size(name: str, architecture: str) -> None:
    assert counts(preset(name, architecture), GPT2_VOCAB).parameters == pytest.approx(PUBLISHED[name], rel=0.15)


@pytest.mark.parametrize("name", PRESETS)
def test_the_help_of_a_preset_says_its_size(name: str) -> None:
    values = compose([f"model={name}", *(["tokenizer=gpt2"] if name in PUBLISHED else [])], ROOT / "params.yaml")
    millions = counts(ModelConfig(**values["model"]), vocabulary(values["tokenize"]) or 0).parameters / 1e6
    said = f"{millions:.1f}M" if millions < 100 else f"{millions:,.0f}M"
    assert f" {said} parameters" in groups(ROOT / "conf")["model"][name]


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


@pytest.mark.parametrize("values", [GPT2, MODERN], ids=["gpt2", "modern"])
@pytest.mark.parametrize("targets", ["q k v proj mlp", "k", "proj", "mlp", "v mlp"])
@pytest.mark.parametrize("base", ["float32", "nf4"])
def test_an_adapter_has_the_parameters_and_flops_that_torch_counts(
    values: dict[str, Any], targets: str, base: str
) -> None:
    """Frozen weights have no gradient, and before the first adapter nothing has one."""
    model, lora = (
        GPT(model_config(values, n_layer=3), 50),
        lora_config(targets=tuple(targets.split()), rank=3, base=base),
    )
    adapt(model, lora, seed=1)
    rows = torch.zeros(3, model.config.block_size, dtype=torch.int64)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(rows, rows).backward()
    found = counts(model.config, 50, lora.ranks)
    assert counter.get_total_flops() == found.flops_per_token * rows.numel()
    assert found.trained == sum(each.numel() for each in trained(model).values())
    assert counts(model.config, 50).trained == found.parameters > found.trained
