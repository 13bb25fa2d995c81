"""Values and standard errors are lm-eval's; an item without a grade widens the interval and changes no value."""

import math

import numpy as np
import pytest

from gptcore.evaluation.benchmarks.metrics import measure


def test_an_accuracy() -> None:
    value, error, (low, high) = measure("acc", [1.0] * 30 + [0.0] * 70, [])
    assert (value, error) == (0.3, pytest.approx(math.sqrt(0.3 * 0.7 / 99)))
    assert (low, high) == (pytest.approx(0.2190, abs=1e-4), pytest.approx(0.3959, abs=1e-4))  # Wilson's, by R's binom


def test_certain_answers_have_an_interval_too() -> None:
    assert measure("acc", [0.0] * 10, [])[2] == (pytest.approx(0), pytest.approx(0.2775, abs=1e-4))
    assert measure("acc", [1.0], [])[:2] == (1.0, "N/A")


def test_an_interval_covers_what_was_not_graded() -> None:
    grades = [1.0] * 30 + [0.0] * 60
    value, _, (low, high) = measure("acc", grades, [1.0] * 10)
    assert value == pytest.approx(1 / 3)
    assert low == measure("acc", grades + [0.0] * 10, [])[2][0]
    assert high == measure("acc", grades + [1.0] * 10, [])[2][1]
    assert measure("acc", [], [1.0] * 5) == (None, "N/A", (0.0, 1.0))


def test_perplexities() -> None:
    random = np.random.default_rng(1)
    grades = [(float(each), 20) for each in random.normal(-60, 5, 400)]
    value, error, (low, high) = measure("word_perplexity", grades, [])
    assert value == math.exp(-sum(each for each, _ in grades) / 8000)
    assert low < value < high
    assert error == pytest.approx(value * 5 / 20 / math.sqrt(400), rel=0.1)
    assert measure("bits_per_byte", grades, [])[0] == pytest.approx(math.log2(value))
    bounded = measure("word_perplexity", grades, [(0.0, 20)] * 40)
    assert bounded[0] == value and bounded[2][0] < low and bounded[2][1] is None


def test_too_little_for_an_interval() -> None:
    assert measure("perplexity", [-2.0], []) == (pytest.approx(math.exp(2)), "N/A", (None, None))
    assert measure("perplexity", [], [0.0]) == (None, "N/A", (None, None))
    assert measure("word_perplexity", [(-2000.0, 1), (-2000.0, 1)], []) == (math.inf, "N/A", (None, None))
