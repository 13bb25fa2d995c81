"""The model has the properties that papers and nanoGPT lead you to expect."""

import math

import pytest
import torch

from gptcore.model.gpt import GPT
from gptcore.training.optim import Optimizer
from tests.support.engine import ADAMW, GPT2, MODERN, MUON, model_config, optim_config

ARCHITECTURES = pytest.mark.parametrize("values", [GPT2, MODERN], ids=["gpt2", "modern"])
VOCAB = 50


def ids(seed: int = 0, batch: int = 4, time: int = 16) -> torch.Tensor:
    return torch.randint(0, VOCAB, (batch, time), generator=torch.Generator().manual_seed(seed))


def trained(values: dict, steps: int = 60) -> GPT:
    """A model trained on one batch for `steps` steps."""
    model = GPT(model_config(values), VOCAB)
    optimizer = Optimizer(optim_config(MUON if values is MODERN else ADAMW, warmup_steps=0), model, 4 * steps)
    rows = ids(batch=4, time=17)
    for step in range(steps):
        model(rows[:, :-1], rows[:, 1:]).backward()
        optimizer.step(step)
    return model


@ARCHITECTURES
def test_loss_at_initialisation_is_that_of_a_uniform_guess(values: dict) -> None:
    loss = GPT(model_config(values), VOCAB)(ids(), ids(1)).item()
    assert loss == pytest.approx(math.log(VOCAB), abs=0.02)


@ARCHITECTURES
def test_no_position_sees_a_later_one(values: dict) -> None:
    model = trained(values, 10).eval()
    rows, changed = ids(), ids()
    changed[:, 9] = (changed[:, 9] + 1) % VOCAB
    before, after = model(rows), model(changed)
    torch.testing.assert_close(before[:, :9], after[:, :9], rtol=0, atol=1e-5)
    assert (before[:, 9:] - after[:, 9:]).abs().amax() > 1e-3


@ARCHITECTURES
def test_one_batch_can_be_learned_by_heart(values: dict) -> None:
    rows = ids(batch=4, time=17)
    assert trained(values, 150)(rows[:, :-1], rows[:, 1:]).item() < 0.05


@ARCHITECTURES
def test_every_parameter_gets_a_gradient(values: dict) -> None:
    model = trained(values, 3)
    model(ids(), ids(1)).backward()
    silent = [name for name, each in model.named_parameters() if each.grad is None or not each.grad.any()]
    # layer 0's x is x0, so only the sum of its two mixing weights matters; both still get gradients
    assert silent == []


def test_gpt2_names_are_those_of_the_published_weights() -> None:
    names = set(GPT(model_config(GPT2, n_layer=1), VOCAB).state_dict())
    layer = {
        f"h.0.{part}.{kind}"
        for part in ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj")
        for kind in ("weight", "bias")
    }
    assert names == layer | {"wte.weight", "wpe.weight", "ln_f.weight", "ln_f.bias", "lm_head.weight"}


def test_softcap_bounds_the_logits() -> None:
    model = GPT(model_config(MODERN, logit_softcap=2.0), VOCAB)
    torch.nn.init.normal_(model.lm_head.weight, std=100.0)
    assert model(ids()).abs().max() <= 2.0


def test_dropout_acts_in_training_only() -> None:
    model = GPT(model_config(GPT2, dropout=0.5), VOCAB)
    assert not torch.equal(model(ids()), model(ids()))
    model.eval()
    assert torch.equal(model(ids()), model(ids()))


@pytest.mark.parametrize(
    "changes, words", [({"n_head": 3}, "not a multiple of n_head 3"), ({"n_head": 32}, "even head width")]
)
def test_heads_that_do_not_fit_are_refused(changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        model_config(MODERN, **changes)
