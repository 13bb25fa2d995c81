"""Training an adapter: its parameters alone change, are saved and resumed, and are AdamW's."""

import copy

import pytest
import torch
from torch import Tensor

from gptcore.model.gpt import GPT
from gptcore.model.lora import merged, trained
from gptcore.training.train import TrainState, fit
from tests.support.adapters import lora_config
from tests.support.engine import GPT2, MODERN, MUON, model_config, optim_config, some_tokens, train_config
from tests.support.weights import random_model

STEPS = 12


def new_state(start: GPT, **lora: object) -> TrainState:
    config, recipe = model_config(start.config.model_dump(), dropout=0.1), train_config(steps=STEPS)
    lora = {"dropout": 0.2, "targets": ("q", "v", "mlp"), **lora}
    return TrainState(
        config, optim_config(MUON), recipe, some_tokens(), 60, torch.device("cpu"),
        start=copy.deepcopy(start), lora=lora_config(**lora),
    )  # fmt: skip


def losses(state: TrainState, steps: int = STEPS) -> list[float]:
    reports = fit(state)
    return [next(reports).loss for _ in range(steps)]


def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: each.detach().clone() for name, each in tensors.items()}


@pytest.mark.parametrize("base", ["float32", "nf4"])
@pytest.mark.parametrize("architecture", [GPT2, MODERN], ids=["gpt2", "modern"])
def test_the_adapter_alone_is_trained_and_resumed_to_the_bit(architecture: dict[str, object], base: str) -> None:
    start = random_model(architecture, 60)
    state, resumed = new_state(start, base=base), new_state(start, base=base)
    before = copied(state.model.state_dict())
    whole = losses(state)
    assert whole[-1] < whole[0]
    after = state.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {*trained(state.model)}
    assert all(each.grad is None for name, each in state.model.named_parameters() if name not in changed)

    first = new_state(start, base=base)
    assert losses(first, 5) == whole[:5]
    saved = copied(first.tensors())
    assert {name.split("/")[1] for name in saved if name.startswith(("model/", "optimizer/"))} == changed
    resumed.load_tensors(saved, 5)
    assert losses(resumed, STEPS - 5) == whole[5:]
    assert all(torch.equal(each, after[name]) for name, each in trained(resumed.model).items())


def test_the_factors_are_adamws_with_their_own_rate_and_no_decay() -> None:
    state = new_state(random_model(MODERN, 60), learning_rate=0.5)
    (optimizer,) = state.optimizer.optimizers
    (group,) = optimizer.param_groups
    assert isinstance(optimizer, torch.optim.AdamW)
    assert (group["peak"], group["weight_decay"], state.optimizer.peak) == (0.5, 0.0, 0.5)
    assert {id(each) for each in group["params"]} == {id(each) for each in trained(state.model).values()}


def test_a_merged_model_is_what_was_trained() -> None:
    state = new_state(random_model(MODERN, 60))
    losses(state)
    ids = torch.arange(16)[None]
    state.model.eval()
    torch.testing.assert_close(merged(state.model)(ids), state.model(ids), rtol=0, atol=1e-5)
