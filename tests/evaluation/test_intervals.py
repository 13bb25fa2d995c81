"""Intervals cover what they should: by document, or by blocks of windows where there is one document."""

import math
from dataclasses import asdict

import numpy as np
import pytest

from gptcore.evaluation.intervals import Units, drawable, intervals, intervals_over_seeds, units
from gptcore.evaluation.losses import standard_error
from gptcore.evaluation.tally import Sums, Tally

WINDOW = 64


def text(windows: np.ndarray, document: np.ndarray) -> Tally:
    """A tally of windows (mean loss of each) that belong wholly to a document."""
    losses, tokens = windows * WINDOW, np.full(len(windows), WINDOW)
    by_document = Sums(np.bincount(document, losses), np.bincount(document) * WINDOW)
    return Tally(Sums(losses, tokens), by_document, Sums(losses, tokens))


def documents(random: np.random.Generator, n: int, each: int, spread: float = 0.2) -> tuple[Tally, Tally, np.ndarray]:
    """Model and baseline on `n` documents of `each` windows on average; windows of one have a level in common.

    The expected losses are 3 and 3.5; the documents' levels are partly the same for both models.
    """
    sizes = random.integers(max(each // 2, 1), each + each // 2 + 1, n)
    document = np.repeat(np.arange(n), sizes)
    common, ours, theirs = random.normal(0, spread, (3, n))[:, document]
    noise = random.normal(0, 0.3, (2, len(document)))
    model, baseline = 3 + common + ours / 4 + noise[0], 3.5 + common + theirs / 4 + noise[1]
    return text(model, document), text(baseline, document), sizes * WINDOW * 3


def measured(model: Tally, baseline: Tally, n_bytes: np.ndarray) -> Units:
    found = units(model, baseline, n_bytes)
    assert found
    return found


@pytest.mark.parametrize(("n", "each"), [(4, 20), (12, 6), (60, 3)])
def test_intervals_cover_the_truth_for_few_and_many_documents(n: int, each: int) -> None:
    random, replicates = np.random.default_rng(n), 150
    covered = np.zeros(4)
    for _ in range(replicates):
        model, _, difference = intervals(measured(*documents(random, n, each)))
        bits = 3 / math.log(2) / 3
        covered += [
            model.loss.low < 3 < model.loss.high,
            model.perplexity.low < math.exp(3) < model.perplexity.high,
            model.bits_per_byte.low < bits < model.bits_per_byte.high,
            difference.loss.low < -0.5 < difference.loss.high,
        ]
    deviation = math.sqrt(0.95 * 0.05 / replicates)
    assert (abs(covered / replicates - 0.95) < 3.3 * deviation).all(), covered / replicates


@pytest.mark.parametrize(("n", "within"), [(500, 0.06), (5000, 0.12)])  # more than 512 are drawn in groups
def test_bootstrap_and_formula_agree_on_many_small_documents(n: int, within: float) -> None:
    for found in intervals(measured(*documents(np.random.default_rng(1), n, 2))):
        for measure in (found.loss, found.perplexity, found.bits_per_byte):
            assert (measure.high - measure.low) / (2 * 1.96) == pytest.approx(measure.standard_error, rel=within)


def test_windows_of_one_document_are_not_independent() -> None:
    """The error of the mean over repeated texts is the document one; the window error is far too small."""
    random = np.random.default_rng(2)
    texts = [documents(random, 30, 20) for _ in range(200)]
    means = [model.windows.losses.sum() / model.windows.tokens.sum() for model, _, _ in texts]
    by_window = [standard_error(model.windows.losses, model.windows.tokens) for model, _, _ in texts]
    by_document = [standard_error(model.documents.losses, model.documents.tokens) for model, _, _ in texts]
    assert np.mean(by_document) == pytest.approx(np.std(means), rel=0.15)
    assert np.mean(by_window) < np.std(means) / 2
    found, _, _ = intervals(measured(*texts[0]))
    assert found.loss.standard_error == pytest.approx(by_document[0], rel=1e-9)


def test_a_paired_difference_is_surer_than_two_losses() -> None:
    model, baseline, difference = intervals(measured(*documents(np.random.default_rng(3), 40, 5)))
    apart = math.hypot(model.loss.standard_error, baseline.loss.standard_error)
    assert difference.loss.standard_error < 0.7 * apart


def stream(random: np.random.Generator, n: int, correlation: float) -> np.ndarray:
    noise, level = random.normal(0, 0.3, n), np.zeros(n)
    for i in range(1, n):
        level[i] = correlation * level[i - 1] + noise[i]
    return 3 + level


def test_one_long_document_is_resampled_in_blocks() -> None:
    random, covered, n = np.random.default_rng(4), 0, 400
    one = np.zeros(n, np.int64)
    for _ in range(150):
        model = text(stream(random, n, 0.4), one)
        found = measured(model, model, np.array([n * WINDOW * 3]))
        assert found.windows_per_block == 8
        ours, _, difference = intervals(found)
        assert difference.loss.low == difference.loss.high == 0
        assert (ours.loss.high - ours.loss.low) / (2 * 1.96) == pytest.approx(ours.loss.standard_error, rel=0.12)
        assert ours.loss.standard_error > 1.15 * standard_error(model.windows.losses, model.windows.tokens)
        covered += ours.loss.low < 3 < ours.loss.high
    assert 0.86 < covered / 150 < 0.99  # blocks lose what reaches over their ends


def test_a_sliver_of_a_second_document_is_no_second_document() -> None:
    """A `tail` split often begins with the end of one. Two such residuals are as good as zero."""
    document = np.array([0] + [1] * 99)
    model = text(stream(np.random.default_rng(5), 100, 0.4), document)
    assert measured(model, model, np.array([192, 99 * 192])).windows_per_block == 5
    equal = text(stream(np.random.default_rng(5), 99, 0.4), np.arange(99) // 33)
    assert measured(equal, equal, np.full(3, 33 * 192)).windows_per_block is None


def test_a_single_window_has_no_interval() -> None:
    model = text(np.array([3.0]), np.array([0]))
    assert units(model, model, np.array([192])) is None


@pytest.mark.parametrize("n", [2, 3, 4, 7, 9])
def test_short_texts_have_one(n: int) -> None:
    model = text(stream(np.random.default_rng(6), n, 0), np.zeros(n, np.int64))
    found, _, _ = intervals(measured(model, model, np.array([n * 192])))
    assert found.loss.low < model.windows.losses.sum() / n / WINDOW < found.loss.high


def test_empty_documents_do_no_harm() -> None:
    model, baseline, n_bytes = documents(np.random.default_rng(7), 4, 5)
    ours, theirs = model.documents, baseline.documents
    empty = Sums(np.append(ours.losses, 2.0), np.append(ours.tokens, 1))
    empty_baseline = Sums(np.append(theirs.losses, 2.0), np.append(theirs.tokens, 1))
    found = measured(
        Tally(model.windows, empty, model.positions),
        Tally(baseline.windows, empty_baseline, baseline.positions),
        np.append(n_bytes, 0),
    )
    assert len(found.sums) == 4
    assert all(math.isfinite(value) for each in intervals(found) for value in asdict(each.loss).values())


def test_the_same_text_has_the_same_interval_and_work_is_bounded() -> None:
    """However long the text, a resample takes at most 512 units: a hundred thousand windows take well under 0.1 s."""
    many = measured(*documents(np.random.default_rng(8), 50_000, 2))
    assert intervals(many) == intervals(many)
    assert 500 < len(drawable(many).sums) == drawable(many).count <= 512
    np.testing.assert_allclose(drawable(many).sums.sum(0), many.whole)
    one = text(np.random.default_rng(9).normal(3, 1, 1_000_000), np.zeros(1_000_000, np.int64))
    assert drawable(measured(one, one, np.array([192e6]))).count <= 512


@pytest.mark.parametrize(("seeds", "spread"), [(2, 0.05), (5, 0.05), (3, 0.0)])
def test_intervals_over_seeds_cover_text_and_training(seeds: int, spread: float) -> None:
    """Each training is off by a level of its own. An interval of one seed, which does not know of it, misses."""
    random, replicates, covered, alone = np.random.default_rng(seeds), 100, 0, 0
    for _ in range(replicates):
        model, baseline, n_bytes = documents(random, 40, 6, 0.1)
        trained = []
        for ours, theirs in random.normal(0, spread, (seeds, 2)):
            shifted = [
                Tally(*(Sums(sums.losses + by * sums.tokens, sums.tokens) for sums in (each.windows, each.documents)),
                      each.positions) for each, by in ((model, ours), (baseline, theirs))
            ]  # fmt: skip
            trained.append(measured(shifted[0], shifted[1], n_bytes))
        _, _, difference = intervals_over_seeds(trained)
        _, _, single = intervals(trained[0])
        covered += difference.loss.low < -0.5 < difference.loss.high
        alone += single.loss.low < -0.5 < single.loss.high
    assert covered / replicates > 0.95 - 3.3 * math.sqrt(0.95 * 0.05 / replicates)
    assert (alone / replicates < 0.75) == (spread > 0)


def test_seeds_that_agree_add_nothing() -> None:
    once = measured(*documents(np.random.default_rng(11), 40, 5))
    assert intervals_over_seeds([once, once]) == intervals(once)
