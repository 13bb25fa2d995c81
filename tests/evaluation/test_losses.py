"""Loss over a whole split, and the metrics derived from it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gptcore.evaluation.losses
from gptcore.evaluation.losses import score, standard_error, window_losses
from gptcore.model.gpt import GPT
from tests.support.engine import MODERN, model_config, some_tokens


def model() -> GPT:
    gpt = GPT(model_config(MODERN), 50)
    torch.nn.init.normal_(gpt.lm_head.weight, std=0.5, generator=torch.Generator().manual_seed(1))
    return gpt


@settings(max_examples=20, deadline=None)
@given(n=st.integers(2, 200), window=st.integers(1, 16))
def test_every_token_but_the_first_counts_once(n: int, window: int) -> None:
    _, counts = window_losses(model(), some_tokens(n), window)
    assert counts.sum() == n - 1


def test_the_sum_is_that_of_each_window_alone() -> None:
    tokens = some_tokens(100)
    losses, counts = window_losses(model(), tokens, 16)
    gpt = model().eval()
    for index, start in enumerate(range(0, 99, 16)):
        rows = torch.from_numpy(tokens[start : start + 17].astype(np.int64))[None]
        alone = gpt(rows[:, :-1], rows[:, 1:]).item() * (rows.size(1) - 1)
        assert losses[index] == pytest.approx(alone, rel=1e-5) and counts[index] == rows.size(1) - 1


def test_a_uniform_model_of_bytes_needs_eight_bits_per_byte() -> None:
    gpt = GPT(model_config(MODERN), 256)  # its head is initialized to zero
    losses, counts = window_losses(gpt, some_tokens(1001, 256), 16)
    measured = score(losses, counts, 1000)
    assert measured.bits_per_byte == pytest.approx(8, rel=1e-6)
    assert measured.perplexity == pytest.approx(256, rel=1e-5) and measured.loss == pytest.approx(
        math.log(256), rel=1e-6
    )


def test_a_subset_is_spread_over_the_split_and_leaves_training_mode_alone() -> None:
    gpt = model().train()
    losses, counts = window_losses(gpt, some_tokens(1000), 16, at_most=5)
    assert len(losses) == 5 and set(counts) == {16} and gpt.training
    whole, _ = window_losses(gpt, some_tokens(1000), 16)
    np.testing.assert_allclose(losses[[0, -1]], whole[[0, 61]], rtol=1e-5)


def test_a_large_vocabulary_goes_through_in_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    gpt, tokens, seen = model(), some_tokens(1000), list[int]()
    whole, _ = window_losses(gpt, tokens, 16)
    gpt.register_forward_hook(lambda module, inputs, logits: seen.append(logits.numel()))
    monkeypatch.setattr(gptcore.evaluation.losses, "LOGITS_AT_ONCE", 3 * 16 * 50)
    losses, _ = window_losses(gpt, tokens, 16)
    assert max(seen) == 3 * 16 * 50
    np.testing.assert_allclose(losses, whole, rtol=1e-5)


def test_standard_error_shrinks_as_one_over_root_n() -> None:
    random = np.random.default_rng(1)
    means = [random.normal(2.0, 1.0, 400).mean() for _ in range(400)]
    one = standard_error(random.normal(2.0, 1.0, 400), np.ones(400, np.int64))
    assert one == pytest.approx(float(np.std(means)), rel=0.15)
