"""Texts become ids as lm-eval's do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.errors import UserError
from gptcore.evaluation.benchmarks.requests import Request, check, pair, rolling
from gptcore.tokens.make_tokenizer import byte_tokenizer, train_bpe
from tests.support.engine import TEXT

EOT = 256


@given(n=st.integers(0, 60), block_size=st.integers(1, 20))
def test_each_id_is_asked_for_once_with_the_longest_context_at_the_end(n: int, block_size: int) -> None:
    windows = rolling(list(range(n)), EOT, block_size)
    assert [each for window in windows for each in window.continuation] == list(range(n))
    row = [EOT, *range(n)]
    for window in windows:
        ids = [*window.context, *window.continuation]
        at = row.index(ids[0])
        assert window.context and row[at : at + len(ids)] == ids and len(ids) <= block_size + 1
    if n > block_size:
        assert len(windows[-1].context) + len(windows[-1].continuation) == block_size + 1


def test_spaces_at_the_end_of_the_context_go_to_the_continuation() -> None:
    bpe = train_bpe(iter([TEXT]), 300)
    assert pair(bpe, "that is ", "the") == pair(bpe, "that is", " the")
    assert bpe.decode(pair(bpe, "that is ", "the").continuation) == " the"


def test_an_empty_context_is_end_of_text() -> None:
    tokenizer = byte_tokenizer()
    assert pair(tokenizer, "", "ab") == Request([EOT], [97, 98])
    assert pair(tokenizer, " \n", "ab") == Request([EOT], [32, 10, 97, 98])


def test_what_cannot_be_asked() -> None:
    with pytest.raises(UserError, match="no token of its own"):
        check(Request([1], []), 16)
    with pytest.raises(UserError, match="has 17 tokens, the model reads 16"):
        check(Request([1], [2] * 17), 16)
    assert check(Request([1] * 40, [2] * 16), 16)
