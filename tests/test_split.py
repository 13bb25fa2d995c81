"""The split loses no text, shares none between its sides, and is the same each time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gptcore.errors import UserError
from gptcore.split import TokenizeConfig, split_text, training_bytes


def config(**changes: object) -> TokenizeConfig:
    values = {"tokenizer": "byte", "vocab_size": 257, "val_fraction": 0.1, "val_split": "documents", "seed": 1}
    return TokenizeConfig(**{**values, **changes})


def parts(texts: list[str], **changes: object) -> tuple[list[str], list[str]]:
    training = training_bytes(texts, config(**changes))
    heads, tails = zip(*map(split_text, texts, training), strict=True)
    return list(heads), list(tails)


TEXTS = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), min_size=1, max_size=12)
FRACTIONS = st.floats(0.05, 0.6)
SEEDS = st.integers(0, 99)


@settings(deadline=None)
@given(TEXTS, FRACTIONS, SEEDS)
def test_whole_documents_fall_on_one_side(texts: list[str], fraction: float, seed: int) -> None:
    size = sum(len(text.encode()) for text in texts)
    try:
        train, val = parts(texts, val_fraction=fraction, seed=seed)
    except UserError:
        largest = max(len(text.encode()) * texts.count(text) for text in texts)
        assert largest >= (1 - fraction) * size, "refused only if one text is nearly the whole corpus"
        return
    assert [head or tail for head, tail in zip(train, val, strict=True)] == texts
    assert not {text for text in train if text} & {text for text in val if text}, "no leak, not even by copies"
    assert sum(len(text.encode()) for text in val) >= fraction * size
    assert any(train)
    assert (train, val) == parts(texts, val_fraction=fraction, seed=seed)


def test_validation_takes_no_more_documents_than_it_needs() -> None:
    _, val = parts([f"document {i:03d}" for i in range(100)], val_fraction=0.25)
    assert sum(map(bool, val)) == 25


def test_another_seed_keeps_other_documents_and_another_order_of_the_corpus_the_same() -> None:
    texts = [f"document {i}" for i in range(100)]
    assert parts(texts, seed=1) != parts(texts, seed=2)
    _, val = parts(texts)
    _, of_reversed = parts(texts[::-1])
    assert val == of_reversed[::-1]


@settings(deadline=None)
@given(TEXTS, FRACTIONS)
def test_the_tail_is_the_end_of_the_text(texts: list[str], fraction: float) -> None:
    size = len("".join(texts).encode())
    try:
        train, val = parts(texts, val_fraction=fraction, val_split="tail")
    except UserError:
        assert size * (1 - fraction) < 4
        return
    assert "".join(train) + "".join(val) == "".join(texts)
    assert 0 <= size * (1 - fraction) - len("".join(train).encode()) < 4, "within one character of where it was asked"
    assert "".join(val)


def test_the_tail_of_one_text_is_that_of_nanogpt() -> None:
    text = "0123456789" * 111539 + "0123"
    [head], _ = parts([text], val_split="tail")
    assert len(head) == int(len(text) * 0.9)


def test_one_document_cannot_be_split_by_documents() -> None:
    with pytest.raises(UserError, match=r"^tokenize.val_fraction=0.1 leaves none of .* 1 document.*val_split=tail"):
        parts(["all of it"])


def test_a_text_that_is_too_short_for_a_tail() -> None:
    with pytest.raises(UserError, match="the corpus of 1 bytes is too short"):
        parts(["x"], val_split="tail")


@pytest.mark.parametrize(
    ("field", "value"),
    [("tokenizer", "gpt3"), ("vocab_size", 256), ("val_fraction", 0.0), ("val_fraction", 1.0), ("val_split", "random")],
)
def test_settings_out_of_range(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        config(**{field: value})
