"""Every token is scored once, by window, document and position, with as much before it as the stride says."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from gptcore.evaluation.losses import window_losses
from gptcore.evaluation.positions import by_position, write_positions
from gptcore.evaluation.tally import tally, window_starts
from gptcore.model.gpt import GPT
from gptcore.tokens.token_files import TokenFiles
from tests.evaluation.test_losses import model
from tests.support.engine import some_tokens

STARTS = np.array([0, 13, 14, 60])


def naive(gpt: GPT, tokens: np.ndarray, block_size: int) -> np.ndarray:
    """The loss of each token but the first, from a row of its own with the `block_size` tokens before it."""
    ids = torch.from_numpy(tokens.astype(np.int64))
    begin = [ids[None, :target] for target in range(1, min(block_size, len(ids)))]
    with torch.inference_mode():
        logits = [gpt(rows)[:, -1] for rows in [*begin, ids[:-1].unfold(0, block_size, 1)]]
    return F.cross_entropy(torch.cat(logits), ids[1:], reduction="none").numpy()


@settings(max_examples=200, deadline=None)
@given(n=st.integers(2, 300), block_size=st.integers(1, 40), data=st.data())
def test_every_token_is_scored_once_with_enough_before_it(n: int, block_size: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, block_size))
    starts = window_starts(n, block_size, stride)
    scored = [  # as `tally` chooses them
        (target, target - start)
        for start in starts.tolist()
        for target in range(start + 1, min(start + block_size, n - 1) + 1)
        if target > start + block_size - stride or start == 0
    ]
    assert [target for target, _ in scored] == list(range(1, n))
    assert all(before >= min(target, block_size - stride + 1) for target, before in scored)


@settings(max_examples=15, deadline=None)
@given(n=st.integers(61, 150), block_size=st.integers(1, 16), data=st.data())
def test_windows_documents_and_positions_have_one_total(n: int, block_size: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, block_size))
    found = tally(model(), some_tokens(n), STARTS, block_size, stride)
    for sums in (found.windows, found.documents, found.positions):
        assert sums.tokens.sum() == n - 1
        assert sums.losses.sum() == pytest.approx(found.windows.losses.sum(), rel=1e-12)
    assert found.documents.tokens.tolist() == [12, 1, 46, n - 60]  # the very first token is no target
    assert found.positions.tokens[: block_size - stride].max(initial=0) <= 1


@pytest.mark.parametrize("block_size", [1, 5])
def test_stride_one_is_the_naive_definition(block_size: int) -> None:
    gpt, tokens = model().eval(), some_tokens(90)
    found = tally(gpt, tokens, STARTS, block_size, 1)
    losses = naive(gpt, tokens, block_size)
    np.testing.assert_allclose(found.windows.losses[1:], losses[block_size:], rtol=1e-4)
    assert found.windows.losses[0] == pytest.approx(losses[:block_size].sum(), rel=1e-5)
    np.testing.assert_allclose(found.documents.losses, np.add.reduceat(losses, [0, 12, 13, 59]), rtol=1e-4)


def test_a_stride_of_the_whole_block_is_what_training_measures() -> None:
    gpt, tokens = model(), some_tokens(1000)
    found = tally(gpt, tokens, STARTS, 16, 16)
    losses, counts = window_losses(gpt, tokens, 16)
    assert found.windows.losses.tobytes() == losses.tobytes()
    assert found.windows.tokens.tolist() == counts.tolist()


def test_token_files_in_parts_give_the_same() -> None:
    gpt, tokens = model(), some_tokens(150)
    whole = tally(gpt, tokens, STARTS, 16, 4)
    parts = tally(gpt, TokenFiles([tokens[:70], tokens[70:]]), STARTS, 16, 4)
    assert parts.windows.losses.tobytes() == whole.windows.losses.tobytes()
    assert parts.documents.losses.tobytes() == whole.documents.losses.tobytes()


def test_loss_by_position(tmp_path: Path) -> None:
    gpt, tokens = model(), some_tokens(100)
    found = tally(gpt, tokens, STARTS, 16, 16)
    write_positions(tmp_path, found.positions, found.positions)
    table = pd.read_csv(tmp_path / "position.csv")
    assert table["tokens_before"].tolist() == list(range(1, 17))
    assert table["tokens"].tolist() == [7] * 3 + [6] * 13
    assert (table["tokens"] * table["model_loss"]).sum() == pytest.approx(found.windows.losses.sum())
    assert (tmp_path / "position.png").read_bytes().startswith(b"\x89PNG")
    third = naive(gpt.eval(), tokens, 3)[2::16]
    assert table["model_loss"][2] == pytest.approx(third.mean(), rel=1e-5)


def test_positions_that_nothing_scores_have_no_row() -> None:
    found = tally(model(), some_tokens(9), np.array([0]), 16, 4)
    assert by_position(found.positions, found.positions)["tokens_before"].tolist() == list(range(1, 9))
