"""Weights in 8 bits."""

import torch

from gptcore.model.int8 import LEVELS, packed, rounded, to_int8, unpacked
from tests.support.engine import GPT2, MODERN
from tests.support.weights import random_model


def test_each_weight_is_the_nearest_level_and_rounds_to_itself() -> None:
    weight = torch.randn(70, 33, generator=torch.Generator().manual_seed(1)) * torch.logspace(-6, 3, 70)[:, None]
    weight[3] = 0
    integers, scales = rounded(weight)
    error = (integers.float() * scales.float()[:, None] - weight).abs()
    assert (error <= scales.float()[:, None] * 0.501).all() and integers.abs().max() == LEVELS
    again = rounded(integers.float() * scales.float()[:, None])
    assert torch.equal(again[0], integers) and torch.equal(again[1][weight.any(1)], scales[weight.any(1)])


def test_a_model_computes_with_the_rounded_weights() -> None:
    """Up to the kernel's bfloat16; a row's logits do not depend on the others, to the last bit."""
    ids = torch.arange(16).view(2, 8) * 13 % 257
    for values in (GPT2, MODERN):
        plain, model = random_model(values), to_int8(random_model(values))
        plain.load_state_dict(unpacked(packed(plain)), strict=False)
        with torch.inference_mode():
            logits = model(ids)
            torch.testing.assert_close(logits, plain(ids), rtol=0, atol=0.05)
            assert torch.equal(model(ids[1:]), logits[1:])
    assert sum(each.numel() for each in to_int8(random_model(GPT2)).parameters()) < 5000  # the rest is integers
