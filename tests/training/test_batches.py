"""Which tokens each step trains on."""

import itertools
import threading
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from gptcore.training.batches import Batches, document_windows, prepared
from tests.support.engine import some_tokens


@given(n=st.integers(50, 400), block=st.integers(1, 16), batch=st.integers(1, 9), seed=st.integers(0, 2**32))
def test_an_epoch_shows_every_window_once(n: int, block: int, batch: int, seed: int) -> None:
    batches = Batches(some_tokens(n), block, batch, "epochs", seed)
    for epoch in range(2):
        starts = [batches._start(index) for index in range(epoch * batches.windows, (epoch + 1) * batches.windows)]
        assert len({start // block for start in starts}) == batches.windows or len(set(starts)) == batches.windows
        gaps = np.diff(sorted(starts))
        assert (gaps == block).all()  # no overlap, no gap
        assert min(starts) >= 0 and max(starts) + block < n


@given(step=st.integers(0, 60), order=st.sampled_from(["epochs", "crops"]))
def test_a_batch_depends_on_nothing_but_its_step(step: int, order: str) -> None:
    fresh, used = (Batches(some_tokens(500), 8, 5, order, 3) for _ in range(2))  # type: ignore[arg-type]
    for before in range(step):
        used[before]
    assert all(torch.equal(one, other) for one, other in zip(fresh[step], used[step], strict=True))


def test_targets_are_the_next_tokens_and_epochs_differ() -> None:
    tokens = np.arange(1000, dtype=np.uint16)
    batches = Batches(tokens, 10, 7, "epochs", 1)
    ids, targets = batches[3]
    assert torch.equal(ids + 1, targets) and ids.shape == (7, 10)
    first, second = ([batches._start(i + e * batches.windows) for i in range(batches.windows)] for e in (0, 1))
    assert first != second


@given(seed=st.integers(0, 1000), step=st.integers(0, 1000))
def test_crops_stay_inside(seed: int, step: int) -> None:
    starts = Batches(some_tokens(30), 16, 8, "crops", seed).starts_of(step)
    assert starts.min() >= 0 and starts.max() + 16 < 30


@pytest.mark.parametrize("order", ["epochs", "crops"])
def test_every_seed_of_64_bits_has_an_order_of_its_own(order: Literal["epochs", "crops"]) -> None:
    """As a list of Python's integers, numpy makes floats of a large seed and a small counter."""
    seeds = (0, 1, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1)
    starts = [tuple(Batches(some_tokens(5000), 8, 9, order, seed).starts_of(2)) for seed in seeds]
    assert len(set(starts)) == len(seeds)


def test_prepared_batches_are_the_batches_and_the_thread_ends() -> None:
    before, batches, indices = threading.active_count(), Batches(some_tokens(500), 8, 5, "epochs", 3), [0, 1, 3, 4, 30]
    ready = prepared(batches, indices, pin_memory=False)
    for expected, (index, (ids, targets)) in zip(indices, ready, strict=True):
        assert index == expected
        expected_ids, expected_targets = Batches(some_tokens(500), 8, 5, "epochs", 3)[index]
        assert torch.equal(ids, expected_ids) and torch.equal(targets, expected_targets)
    assert threading.active_count() == before
    closed = prepared(batches, range(100), pin_memory=False)
    next(closed)
    closed.close()
    assert threading.active_count() == before


def test_what_goes_wrong_while_a_batch_is_made_is_raised_where_it_is_read() -> None:
    batches = Batches(np.zeros(0, np.uint16), 8, 5, "crops", 3)
    with pytest.raises(ValueError):
        next(prepared(batches, [0], pin_memory=False))


@given(lengths=st.lists(st.integers(1, 40), min_size=3, max_size=30), block=st.integers(1, 16), batch=st.integers(1, 5))
def test_windows_begin_with_a_document_or_go_on_from_the_one_before(lengths: list[int], block: int, batch: int) -> None:
    documents = np.cumsum([0, *lengths[:-1]])
    n = sum(lengths)
    assume(n > 2 * block)
    starts = document_windows(documents, n, block)
    seen = {position for start in starts for position in range(start, start + block)}
    assert seen >= set(range(n - block - 1)) and starts.max() + block < n
    for before, start in itertools.pairwise(starts):
        assert before < start <= before + block
        assert start in documents or start == before + block
        crossed = [each for each in documents if before < each <= before + block]
        assert not crossed or start == crossed[-1]
    batches = Batches(some_tokens(n), block, batch, "documents", 3, documents)
    steps = len(starts)  # `batch` epochs
    drawn = np.concatenate([batches.starts_of(step) for step in range(steps)])
    assert sorted(drawn) == sorted(np.repeat(starts, batch))
