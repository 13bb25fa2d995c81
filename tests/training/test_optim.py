"""Optimizers and schedules, against their papers and nanoGPT's formula."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gptcore.model.gpt import GPT
from gptcore.training.optim import Muon, Optimizer, learning_rate_factor, muon_momentum, orthogonalize
from gptcore.training.train import TrainState
from tests.support.engine import ADAMW, GPT2, MODERN, MUON, model_config, optim_config, train_config


def nanogpt_rate(it: int, rate: float, low: float, warmup: int, decay: int) -> float:
    """nanoGPT's schedule, from its description: linear warm-up, then cosine decay to the minimum."""
    if it < warmup:
        return rate * (it + 1) / (warmup + 1)
    return low + 0.5 * (1 + math.cos(math.pi * (it - warmup) / (decay - warmup))) * (rate - low)


@given(step=st.integers(0, 1999))
def test_cosine_is_nanogpts(step: int) -> None:
    config = optim_config(ADAMW, warmup_steps=100, final_learning_rate_fraction=0.1)
    assert 1e-3 * learning_rate_factor(config, step, 2000) == pytest.approx(nanogpt_rate(step, 1e-3, 1e-4, 100, 2000))


@given(steps=st.integers(1, 500), warmup=st.integers(0, 50), cooldown=st.floats(0, 1), floor=st.floats(0, 0.5))
def test_wsd_warms_up_stays_and_falls(steps: int, warmup: int, cooldown: float, floor: float) -> None:
    config = optim_config(MUON, warmup_steps=warmup, cooldown_fraction=cooldown, final_learning_rate_fraction=floor)
    factors = [learning_rate_factor(config, step, steps) for step in range(steps)]
    assert all(0 < each <= 1 for each in factors)
    assert factors[:warmup] == sorted(factors[:warmup])
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)


def test_muon_momentum_warms_up() -> None:
    config = optim_config(MUON, muon_momentum_warmup_steps=100)
    assert [round(muon_momentum(config, step), 3) for step in (0, 50, 100, 900)] == [0.85, 0.9, 0.95, 0.95]


@pytest.mark.parametrize("shape", [(2, 32, 32), (3, 16, 64), (3, 64, 16)])
def test_orthogonalized_singular_values_are_near_one(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalize(matrices))
    # Jordan et al. 2024: within about 0.7 to 1.2; a square Gaussian matrix has singular values near zero, which lag
    assert values.max() < 1.25 and values.median() > 0.65


def test_muon_takes_a_fused_qkv_matrix_as_its_three_parts() -> None:
    gradient = torch.randn(24, 8, generator=torch.Generator().manual_seed(1))
    fused = torch.zeros(24, 8, requires_grad=True)
    parts = [torch.zeros(8, 8, requires_grad=True) for _ in range(3)]
    fused.grad = gradient.clone()
    for part, piece in zip(parts, gradient.chunk(3), strict=True):
        part.grad = piece.clone()
    for parameters in ([fused], parts):
        Muon(parameters, lr=0.1, momentum=0.9, weight_decay=0.0, dtype=torch.float32).step()
    torch.testing.assert_close(fused, torch.cat(parts))


def test_cautious_decay_shrinks_only_where_the_update_agrees() -> None:
    weight = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], requires_grad=True)
    weight.grad = torch.eye(2)  # the update is positive on the diagonal
    with_decay = weight.detach().clone().requires_grad_()
    with_decay.grad = torch.eye(2)
    Muon([weight], lr=0.1, momentum=0.0, weight_decay=0.0, dtype=torch.float32).step()
    Muon([with_decay], lr=0.1, momentum=0.0, weight_decay=0.5, dtype=torch.float32).step()
    moved = (with_decay - weight).detach()
    assert moved[0, 0] == pytest.approx(-0.05) and moved[1, 1] == pytest.approx(-0.05)
    assert moved[0, 1].abs() < 1e-6 and moved[1, 0].abs() < 1e-6


@pytest.mark.parametrize("model, optim", [(GPT2, ADAMW), (MODERN, MUON)])
def test_every_parameter_is_optimized_exactly_once(model: dict, optim: dict) -> None:
    gpt = GPT(model_config(model), 50)
    optimizer = Optimizer(optim_config(optim), gpt, 10)
    held = [id(each) for group in optimizer.groups() for each in group["params"]]
    assert sorted(held) == sorted(id(each) for each in gpt.parameters())


@pytest.mark.parametrize(
    ("precision", "products"),
    [("float32", torch.float32), ("bfloat16", torch.bfloat16)],
)
def test_muon_multiplies_in_the_precision_of_the_run(precision: str, products: torch.dtype) -> None:
    """float32 is float32 throughout, also on a processor that multiplies bfloat16."""
    train, tokens = train_config(precision=precision), np.zeros(100, np.uint8)
    state = TrainState(model_config(MODERN), optim_config(MUON), train, tokens, 50, torch.device("cpu"))
    (muon,) = (each for each in state.optimizer.optimizers if isinstance(each, Muon))
    assert muon.dtype == products


def test_an_embedding_that_is_the_head_too_starts_and_learns_as_a_head() -> None:
    """With the embedding's own scale and rate the first logits would be at the soft-cap, and each step would throw.

    With the embeddings' rate, bigrams that are added to it drown it: 5.42 nats after 200 steps at nano size, not 4.39.
    """
    config = model_config(MODERN, tied_head=True, position="learned")
    ids = torch.arange(50).view(2, 25)[:, :16]
    gpt = GPT(config, 50)
    assert gpt(ids, ids.roll(1)).item() == pytest.approx(math.log(50), abs=0.1)
    optimizer = Optimizer(optim_config(MUON, head_learning_rate=0.004, embedding_learning_rate=0.3), gpt, 10)
    rates = {id(each): group["peak"] for group in optimizer.groups() for each in group["params"]}
    assert gpt.wpe is not None and gpt.wbe is not None
    assert {rates[id(each.weight)] for each in (gpt.wte, gpt.wpe, gpt.wbe)} == {0.004}
    assert {rates[id(each)] for each in gpt.wve.parameters()} == {0.3}


def test_faithful_mode_is_torchs_adamw_with_nanogpts_groups() -> None:
    ours, theirs = (GPT(model_config(GPT2), 50, seed=3) for _ in range(2))
    optimizer = Optimizer(optim_config(ADAMW, warmup_steps=0, gradient_clip=0.0), ours, 10)
    decayed = [each for each in theirs.parameters() if each.dim() >= 2]
    rest = [each for each in theirs.parameters() if each.dim() < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.99))
    rows = torch.randint(0, 50, (4, 17), generator=torch.Generator().manual_seed(1))
    for model in (ours, theirs):
        model(rows[:, :-1], rows[:, 1:]).backward()
    optimizer.step(0)
    reference.step()
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, msg=f"{name} differs")


@pytest.mark.parametrize("clip", [0.0, 1e-3])
def test_the_norm_of_the_gradients_is_told_when_asked_and_changes_nothing(clip: float) -> None:
    asked, not_asked = (GPT(model_config(MODERN), 50, seed=3) for _ in range(2))
    rows = torch.randint(0, 50, (4, 17), generator=torch.Generator().manual_seed(1))
    for model, measures in ((asked, True), (not_asked, False)):
        optimizer = Optimizer(optim_config(MUON, warmup_steps=0, gradient_clip=clip), model, 10)
        optimizer.measures = measures
        model(rows[:, :-1], rows[:, 1:]).backward()
        whole = torch.cat([each.grad.flatten() for each in model.parameters() if each.grad is not None])
        optimizer.step(0)
        norm = optimizer.gradient_norm  # before it is clipped
        assert (norm and norm.item()) == (pytest.approx(whole.norm().item(), rel=1e-5) if measures else None)
    assert all(torch.equal(*each) for each in zip(asked.parameters(), not_asked.parameters(), strict=True))
