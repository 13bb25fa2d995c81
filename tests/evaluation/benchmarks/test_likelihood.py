"""Log-probabilities are the naive ones, and those of one request do not depend on the others."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptcore.evaluation.benchmarks.likelihood import answers
from gptcore.evaluation.benchmarks.requests import Request
from tests.support.engine import MODERN
from tests.support.weights import random_model

MODEL = random_model(MODERN, 50, block_size=100)
BLOCK = MODEL.config.block_size


def requests(seed: int, n: int) -> list[Request]:
    random = np.random.default_rng(seed)
    lengths = zip(random.integers(1, 150, n), random.integers(1, BLOCK, n), strict=True)
    return [Request(random.integers(0, 50, one).tolist(), random.integers(0, 50, two).tolist()) for one, two in lengths]


def test_the_naive_definition() -> None:
    for request, answer in zip(requests(1, 12), answers(MODEL, requests(1, 12)), strict=True):
        row = torch.tensor([*request.context, *request.continuation])[-BLOCK - 1 :]
        with torch.inference_mode():
            logprobs = MODEL(row[None, :-1])[0].double().log_softmax(-1)[-len(request.continuation) :]
        targets = torch.tensor(request.continuation)
        assert answer.logprob == pytest.approx(float(logprobs.gather(1, targets[:, None]).sum()), rel=1e-5)
        assert answer.is_greedy == bool((logprobs.argmax(-1) == targets).all())
        assert answer.tokens == len(request.continuation)


def test_a_greedy_continuation_is_greedy() -> None:
    context = [3, 1, 4]
    best: list[int] = []
    for _ in range(5):
        best.append(int(MODEL(torch.tensor([[*context, *best]]))[0, -1].argmax()))
    other = [*best[:4], (best[4] + 1) % 50]
    found = answers(MODEL, [Request(context, best), Request(context, other)])
    assert [each.is_greedy for each in found] == [True, False]


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 99), chosen=st.permutations(range(9)), n=st.integers(1, 9))
def test_an_answer_depends_on_its_request_alone(seed: int, chosen: list[int], n: int) -> None:
    asked = requests(seed, 9)
    together = answers(MODEL, asked)
    assert answers(MODEL, [asked[each] for each in chosen[:n]]) == [together[each] for each in chosen[:n]]


def test_nothing_asked_nothing_answered() -> None:
    assert answers(MODEL, []) == []
