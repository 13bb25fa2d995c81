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
from gptcore.evaluation.positions import by_position, smoothed, write_positions
from gptcore.evaluation.tally import tally
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


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 120), block_size=st.integers(1, 16), data=st.data())
def test_every_token_is_scored_once_with_enough_before_it(n: int, block_size: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, block_size))
    found = tally(model(), some_tokens(n), np.arange(n), block_size, stride)  # each token a document of its own
    assert found.documents.tokens.tolist() == [0] + [1] * (n - 1)
    alone = min(block_size, n - 1) - stride  # positions that only the first window scores
    assert found.positions.tokens[: max(alone, 0)].tolist() == [1] * max(alone, 0)
    for sums in (found.windows, found.positions):
        assert sums.tokens.sum() == n - 1
        assert sums.losses.sum() == pytest.approx(found.documents.losses.sum(), rel=1e-12)


@pytest.mark.parametrize("block_size", [1, 5])
def test_stride_one_is_the_naive_definition(block_size: int) -> None:
    gpt, tokens = model().eval(), some_tokens(90)
    found = tally(gpt, tokens, STARTS, block_size, 1)
    losses = naive(gpt, tokens, block_size)
    np.testing.assert_allclose(found.windows.losses[1:], losses[block_size:], rtol=1e-4)
    assert found.windows.losses[0] == pytest.approx(losses[:block_size].sum(), rel=1e-5)
    np.testing.assert_allclose(found.documents.losses, np.add.reduceat(losses, [0, 12, 13, 59]), rtol=1e-4)
    assert found.documents.tokens.tolist() == [12, 1, 46, 30]  # the very first token is no target


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


def test_the_picture_averages_neighbours_and_leaves_out_single_tokens() -> None:
    before = np.arange(1, 1025)
    tokens = np.where(before > 512, 5000, 1)  # as with a stride of half the block
    table = pd.DataFrame({"tokens_before": before, "tokens": tokens, "model_loss": 2.0, "baseline_loss": before})
    few = smoothed(table)
    assert 4 <= len(few) <= 6 and few["tokens_before"].is_monotonic_increasing
    np.testing.assert_allclose(few["baseline_loss"], few["tokens_before"])
    np.testing.assert_allclose(few["model_loss"], 2)
