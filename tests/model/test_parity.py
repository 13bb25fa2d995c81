"""The gpt2 architecture against transformers.GPT2LMHeadModel: logits, loss, every gradient, steps of AdamW.

Sizes, weights, biases and norms are random, so that a transposed or swapped tensor shows.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gptcore.model.gpt import GPT
from gptcore.training.optim import Optimizer
from gptcore.weights.huggingface import read_hugging_face
from tests.support.engine import ADAMW, optim_config

if TYPE_CHECKING:  # its import takes 2 s in each test process, which collects all tests and runs some
    from transformers import GPT2LMHeadModel

LEARNING_RATE, DECAY = 3e-3, 0.1
EPS = 1e-3  # with AdamW's usual 1e-8, a gradient of pure rounding error moves its weight by a whole step
CLOSE: dict[str, float] = {"rtol": 1e-4, "atol": 1e-5}

tiny = st.fixed_dictionaries(
    {
        "n_layer": st.integers(1, 3), "n_head": st.integers(1, 4), "head_dim": st.integers(2, 9),
        "vocab_size": st.integers(5, 90), "n_positions": st.integers(6, 24), "seed": st.integers(0, 2**31),
        "activation_function": st.sampled_from(["gelu_new", "gelu"]),
    }
)  # fmt: skip
examples = settings(max_examples=6, deadline=None)


def pair(folder: Path, tiny: dict[str, Any]) -> tuple[GPT, "GPT2LMHeadModel", Tensor]:
    """Our model, theirs with the same weights, and ids of shape (3, n_positions)."""
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {name: each for name, each in tiny.items() if name not in ("head_dim", "seed")}
    off = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": 0, "eos_token_id": 0}
    torch.manual_seed(tiny["seed"])
    theirs = GPT2LMHeadModel(GPT2Config(n_embd=tiny["n_head"] * tiny["head_dim"], **sizes, **off))
    for each in theirs.parameters():
        torch.nn.init.normal_(each, std=0.2)
    theirs.save_pretrained(folder)
    ours = read_hugging_face(folder).model(folder).train()
    return ours, theirs.train(), torch.randint(0, tiny["vocab_size"], (3, tiny["n_positions"]))


def losses(ours: GPT, theirs: "GPT2LMHeadModel", ids: Tensor) -> tuple[Tensor, Tensor]:
    """Transformers shifts the labels itself."""
    return ours(ids[:, :-1], ids[:, 1:]), theirs(ids, labels=ids).loss


def in_our_form(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Strip the prefix from names; transpose linear layers from (in, out) to (out, in)."""
    linear = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    named = {name.removeprefix("transformer."): each for name, each in theirs.items()}
    return {name: each.t() if name.endswith(linear) else each for name, each in named.items()}


def assert_close(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    theirs = in_our_form(theirs)
    assert ours.keys() == theirs.keys()
    for name, each in ours.items():
        torch.testing.assert_close(each, theirs[name], **CLOSE, msg=lambda said, name=name: f"{name}: {said}")


@examples
@given(tiny=tiny)
def test_logits_and_loss(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, Any]) -> None:
    ours, theirs, ids = pair(tmp_path_factory.mktemp("parity"), tiny)
    torch.testing.assert_close(ours(ids), theirs(ids).logits, **CLOSE)
    torch.testing.assert_close(*losses(ours, theirs, ids), **CLOSE)


@examples
@given(tiny=tiny)
def test_gradients_of_every_parameter(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, Any]) -> None:
    ours, theirs, ids = pair(tmp_path_factory.mktemp("parity"), tiny)
    for loss in losses(ours, theirs, ids):
        loss.backward()
    assert_close(gradients(ours), gradients(theirs))


def gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    found = {name: each.grad for name, each in model.named_parameters()}
    assert None not in found.values()
    return found


@examples
@given(tiny=tiny)
def test_steps_of_adamw(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, Any]) -> None:
    """The first step and two more that use its moments: gradients are clipped, only matrices and tables decay."""
    ours, theirs, ids = pair(tmp_path_factory.mktemp("parity"), tiny)
    rates = {f"{group}_learning_rate": LEARNING_RATE for group in ("matrix", "embedding", "head", "scalar")}
    decays = {"matrix_weight_decay": DECAY, "embedding_weight_decay": DECAY}
    constant = {"schedule": "wsd", "warmup_steps": 0, "cooldown_fraction": 0.0}
    our_optimizer = Optimizer(
        optim_config(ADAMW, gradient_clip=1.0, adam_eps=EPS, **rates, **decays, **constant), ours, steps=10
    )
    groups = [
        {"params": [each for each in theirs.parameters() if each.dim() >= 2], "weight_decay": DECAY},
        {"params": [each for each in theirs.parameters() if each.dim() < 2], "weight_decay": 0.0},
    ]
    their_optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=tuple(ADAMW["adam_betas"]), eps=EPS)
    before = ours.wte.weight.clone()
    for step in range(3):
        for loss in losses(ours, theirs, ids):
            loss.backward()
        assert our_optimizer.step(step) == 1.0
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        their_optimizer.step()
        their_optimizer.zero_grad()
        assert_close(dict(ours.named_parameters()), dict(theirs.named_parameters()))
    assert (ours.wte.weight - before).abs().max() > LEARNING_RATE
