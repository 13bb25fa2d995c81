"""Two models on the same items: how often the bounds are right, and what an item without a grade may have been."""

import math

import numpy as np
import pytest

from gptcore.evaluation.benchmarks.paired import bounds


@pytest.mark.parametrize("n", [25, 200])
def test_equal_models_are_seldom_told_apart(n: int) -> None:
    """Of 600 pairs of equally good models, a 95 % interval lies above zero for 2.5 %, no more, and covers zero."""
    random, pairs, won, covered = np.random.default_rng(n), 600, 0, 0
    for _ in range(pairs):
        ease = random.beta(2, 2, n)  # both find the same items hard
        ours, theirs = ((random.random(n) < ease).astype(float).tolist() for _ in range(2))
        found = bounds("acc", [1] * n, ours, theirs, 0.95)
        assert found
        won, covered = won + (found[0] > 0), covered + (found[0] <= 0 <= found[1])
    print(f"{n} items: {won} of {pairs} equal models are called better; {covered} intervals cover zero")
    assert won / pairs < 0.025 + 3.3 * math.sqrt(0.025 * 0.975 / pairs)
    assert abs(covered / pairs - 0.95) < 3.3 * math.sqrt(0.95 * 0.05 / pairs) + 0.01


def test_few_items_and_equal_answers_are_no_certainty() -> None:
    found = bounds("acc", [1] * 5, [1.0] * 5, [1.0] * 5, 0.95)
    assert found and found[0] < -0.2 and found[1] > 0.2


def test_what_was_not_asked_widens_the_bounds_on_its_side() -> None:
    ours, theirs = [1.0, 0.0, 1.0, 1.0] * 10, [0.0, 0.0, 1.0, 0.0] * 10
    whole = bounds("acc", [1] * 40, ours, theirs, 0.95)
    less = bounds("acc", [1] * 40, [None, *ours[1:]], theirs, 0.95)
    other = bounds("acc", [1] * 40, ours, [None, *theirs[1:]], 0.95)
    assert whole and less and other
    assert less[0] < whole[0] and less[1] == whole[1]  # it was right
    assert other[0] < whole[0] and other[1] == whole[1]  # the other was wrong
    assert bounds("acc", [1] * 40, [None, *ours[1:]], theirs, 0.0) == (0.475, 0.5)


def test_perplexities() -> None:
    """Of pages with words that share a log-probability; one that could not be asked may be as bad as can be."""
    random, words = np.random.default_rng(0), [30 + each % 7 for each in range(60)]
    better = [-3.0 * each for each in words]
    worse = [-(3.1 + 0.02 * random.standard_normal()) * each for each in words]
    found = bounds("word_perplexity", words, better, worse, 0.95)
    assert found and found[0] < math.exp(3.0) - math.exp(3.1) < found[1] < 0
    low, high = bounds("bits_per_byte", words, better, worse, 0.95) or (0, 0)
    assert low < -0.1 / math.log(2) < high < 0
    assert (bounds("word_perplexity", words, [None, *better[1:]], worse, 0.95) or (0, 0))[1] == math.inf
    assert (bounds("word_perplexity", words, better, [None, *worse[1:]], 0.95) or (0, 0))[0] == -math.inf
    assert bounds("perplexity", [1], [-1.0], [-2.0], 0.95) is None  # a single item
    assert bounds("perplexity", [1], [-1.0], [-2.0], 0.0) == pytest.approx((math.e - math.e**2,) * 2)
