"""Attention: the CPU's blocks against torch's kernel, sliding windows, activation checkpointing."""

import pytest
import torch
from torch.nn import functional as F

from gptcore.model.attention import attend, window_mask
from gptcore.model.gpt import GPT
from tests.support.engine import GPT2, MODERN, model_config


@pytest.mark.parametrize("length", [5, 128, 300])
@pytest.mark.parametrize("window", [0, 2, 200])
def test_blocks_agree_with_one_masked_product(length: int, window: int) -> None:
    q, k, v = (torch.randn(2, 3, length, 8, requires_grad=True) for _ in range(3))
    with torch.autocast("cpu", torch.bfloat16):
        assert window_mask(length, window, q.device) is None
        ours = attend(q, k, v, 0.0, 0.3, window, None).float()
    ahead = torch.arange(length)[:, None] - torch.arange(length)
    seen = (ahead >= 0) & (ahead < (window or length))
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=0.3)
    torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.03)
    in_float32 = attend(q, k, v, 0.0, 0.3, window, window_mask(length, window, q.device))
    torch.testing.assert_close(in_float32, theirs, rtol=1e-4, atol=1e-5)
    for found, right in zip(
        torch.autograd.grad(ours.square().sum(), (q, k, v)),
        torch.autograd.grad(theirs.square().sum(), (q, k, v)),
        strict=True,
    ):
        assert F.cosine_similarity(found.flatten(), right.flatten(), dim=0) > 0.999


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("length", [5, 300])
def test_flex_attention_sees_the_same_keys(length: int) -> None:
    """Its kernel is compiled for GPUs; on a CPU it knows no backward pass."""
    q, k, v = (torch.randn(2, 3, length, 16) for _ in range(3))
    mask = window_mask(length, 2, q.device, flex=True)
    assert not isinstance(mask, torch.Tensor) and window_mask(length, 2, q.device, flex=True) is mask
    theirs = attend(q, k, v, 0.0, 0.3, 2, window_mask(length, 2, q.device))
    torch.testing.assert_close(attend(q, k, v, 0.0, 0.3, 2, mask), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("length", [300, 1024])
def test_flex_attention_on_a_gpu_has_the_gradients_of_one_masked_product(length: int) -> None:
    q, k, v = (torch.randn(2, 3, length, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    with torch.autocast("cuda", torch.bfloat16):
        theirs = attend(q, k, v, 0.0, 0.3, 100, window_mask(length, 100, q.device))
        flex = torch.compile(attend, dynamic=False)
        ours = flex(q, k, v, 0.0, 0.3, 100, window_mask(length, 100, q.device, flex=True))
    torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.05)
    for found, right in zip(
        torch.autograd.grad(ours.square().sum(), (q, k, v)),
        torch.autograd.grad(theirs.square().sum(), (q, k, v)),
        strict=True,
    ):
        assert F.cosine_similarity(found.float().flatten(), right.float().flatten(), dim=0) > 0.999


def test_a_window_hides_what_is_too_far_back_and_every_fourth_block_sees_all() -> None:
    config = model_config(GPT2, n_layer=5, sliding_window=4)
    assert [config.window(layer) for layer in range(5)] == [4, 4, 4, 0, 0]
    model = GPT(model_config(GPT2, n_layer=1, sliding_window=4), 50)
    assert model.h[0].attn.window == 0  # the last block sees everything
    model.h[0].attn.window = 4
    rows = torch.randint(0, 50, (1, 16))
    changed = rows.clone()
    changed[0, 3] = (changed[0, 3] + 1) % 50
    same = (model(rows) == model(changed)).all(-1)[0].tolist()
    assert same == [True] * 3 + [False] * 4 + [True] * 9


@pytest.mark.parametrize("values", [GPT2, MODERN], ids=["gpt2", "modern"])
def test_recomputed_activations_give_the_same_gradients(values: dict) -> None:
    rows = torch.randint(0, 50, (4, 17))
    found = []
    for recompute in (False, True):
        model = GPT(model_config(values, dropout=0.2, activation_checkpointing=recompute), 50)
        torch.manual_seed(3)
        loss = model(rows[:, :-1], rows[:, 1:])
        loss.backward()
        found.append([loss.item(), *(each.grad for each in model.parameters())])
    for kept, recomputed in zip(*found, strict=True):
        torch.testing.assert_close(kept, recomputed, rtol=0, atol=0)
