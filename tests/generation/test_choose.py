"""Drawing ids: each filter against its definition, each row by itself."""

import math
from collections import Counter
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptcore.errors import UserError
from gptcore.generation.choose import BROKEN, _integers, choose
from gptcore.generation.sampling import Sampling
from gptcore.generation.sequence import Request, Sequence

VOCAB = 12
samplings = st.builds(
    Sampling, temperature=st.sampled_from([0.0, 0.001, 0.7, 1.0, 5.0]), top_k=st.sampled_from([0, 1, 3, 50]),
    top_p=st.sampled_from([1.0, 0.9, 0.3, 1e-9]), min_p=st.sampled_from([0.0, 0.2, 1.0]), seed=st.integers(0, 9),
    presence_penalty=st.sampled_from([0.0, 1.5]), frequency_penalty=st.sampled_from([0.0, -0.5]),
    repetition_penalty=st.sampled_from([1.0, 1.3]), logit_bias=st.sampled_from([{}, {3: -1e6, 4: 2.0}]),
)  # fmt: skip


def sequence(sampling: Sampling, ids: tuple[int, ...] = ()) -> Sequence:
    return Sequence(Request((5, 6), 9, sampling), list(ids))


def logits(seed: int, rows: int = 1) -> torch.Tensor:
    return 3 * torch.randn(rows, VOCAB, generator=torch.Generator().manual_seed(seed))


@pytest.mark.gpu
@settings(max_examples=60, deadline=None)
@given(asked=st.lists(samplings, min_size=1, max_size=9), seed=st.integers(0, 999))
def test_a_gpu_leaves_the_same_ids_and_draws_the_same(asked: list[Sampling], seed: int) -> None:
    rows = logits(seed, len(asked))
    assert choose(rows.cuda(), list(map(sequence, asked))) == choose(rows, list(map(sequence, asked)))


def adjusted(row: list[float], of: Sequence) -> list[float]:
    sampling, row = of.request.sampling, list(row)
    for token in {*of.request.prompt, *of.ids}:
        row[token] *= 1 / sampling.repetition_penalty if row[token] > 0 else sampling.repetition_penalty
    for token, count in Counter(of.ids).items():
        row[token] -= sampling.presence_penalty + sampling.frequency_penalty * count
    return [each + sampling.logit_bias.get(token, 0.0) for token, each in enumerate(row)]


def allowed(row: list[float], sampling: Sampling) -> set[int]:
    """One id at a time, as papers define the filters."""
    ranked = sorted(range(VOCAB), key=lambda token: -row[token])
    if sampling.temperature == 0:
        return {ranked[0]}
    ranked = ranked[: sampling.top_k or VOCAB]
    weights = [math.exp((row[token] - row[ranked[0]]) / sampling.temperature) for token in ranked]
    left = [each / sum(weights) for each in weights]
    kept = [number for number in range(len(ranked)) if sum(left[:number]) < sampling.top_p + 1e-6]
    return {ranked[number] for number in kept if left[number] >= sampling.min_p * left[0] - 1e-6}


@settings(max_examples=150, deadline=None)
@given(sampling=samplings, seed=st.integers(0, 999), ids=st.lists(st.integers(0, VOCAB - 1), max_size=6))
def test_only_ids_that_the_filters_leave(sampling: Sampling, seed: int, ids: list[int]) -> None:
    of = sequence(sampling, tuple(ids))
    left = allowed(adjusted(logits(seed)[0].tolist(), of), sampling)
    assert set(choose(logits(seed).repeat(8, 1), [of] * 8)) <= left


@settings(max_examples=40, deadline=None)
@given(several=st.lists(samplings, min_size=1, max_size=7))
def test_a_row_is_drawn_as_if_it_were_alone(several: list[Sampling]) -> None:
    rows = logits(1, len(several))
    together = choose(rows.clone(), [sequence(each) for each in several])
    alone = [choose(rows[[row]], [sequence(each)])[0] for row, each in enumerate(several)]
    assert together == alone


@settings(max_examples=60, deadline=None)
@given(asked=st.lists(samplings, min_size=1, max_size=7), seed=st.integers(0, 999))
def test_integers_draw_what_probabilities_draw(asked: list[Sampling], seed: int) -> None:
    """A GPU draws by them."""
    rows = logits(seed, len(asked))
    rows[0, 4] = (1.0, math.nan, math.inf)[seed % 3]
    expected = choose(rows.clone(), list(map(sequence, asked)))
    with patch("gptcore.generation.choose._weights", _integers):
        assert choose(rows, list(map(sequence, asked))) == expected


def test_draws_follow_the_probabilities() -> None:
    of = sequence(Sampling(temperature=1.0))
    p = logits(3).softmax(-1)[0]
    drawn = choose(logits(3).repeat(20_000, 1), [of] * 20_000)
    shares = torch.bincount(torch.tensor(drawn), minlength=VOCAB) / len(drawn)
    assert (shares - p).abs().max() < 4 * 0.5 / math.sqrt(len(drawn))


def test_logits_that_are_no_numbers_give_no_id() -> None:
    rows = logits(0, 3)
    rows[1, 4] = math.nan
    rows[2, 4] = math.inf
    for temperature in (0.0, 1.0):
        of = sequence(Sampling(temperature=temperature))
        drawn = choose(rows.clone(), [of] * 3)
        assert drawn[0] >= 0 and drawn[1:] == [BROKEN, BROKEN]


def test_a_seed_gives_each_prompt_and_choice_its_own_noise() -> None:
    requests = [Request(prompt, 1, Sampling(seed=seed), choice=choice)
                for prompt in ((1,), (2,)) for seed in (0, 1) for choice in (0, 1)]  # fmt: skip
    assert len({Sequence(each).random.random() for each in requests}) == len(requests)
    assert Sequence(requests[0]).random.random() == Sequence(requests[0]).random.random()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"temperature": -1.0}, "temperature: input should be greater than or equal to 0; it is -1.0"),
        ({"temperature": 1e-4}, "temperature is 0 or at least 0.001; it is 0.0001"),
        ({"top_p": 0.0}, "top_p: input should be greater than 0; it is 0.0"),
        ({"temprature": 1.0}, "there is no field temprature; there are repetition_penalty, "),
        ({"min_p": math.nan}, "min_p: input should be a finite number; it is nan"),
    ],
)
def test_a_wrong_field_is_named(values: dict, said: str) -> None:
    with pytest.raises(UserError) as error:
        Sampling.of(**values)
    assert said in str(error.value) and "\n" not in str(error.value)
