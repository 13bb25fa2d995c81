"""The split loses no text, has no overlap between its sides, and is deterministic."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gptcore.corpus.split import TokenizeConfig, draw, split_points, split_text
from gptcore.errors import UserError
from tests.support.corpora import prose
from tests.support.engine import TOKENIZE


def config(**changes: object) -> TokenizeConfig:
    return TokenizeConfig(**{**TOKENIZE, "val_fraction": 0.1, **changes})


def parts(texts: list[str], **changes: object) -> tuple[list[str], list[str], list[str]]:
    settings = config(**changes)
    encoded = [text.encode() for text in texts]
    sizes = np.array([len(text) for text in encoded], np.int64)
    draws = np.array([draw(text, settings.seed) for text in encoded], np.uint64)
    split = [split_text(text, at) for text, at in zip(encoded, split_points(sizes, draws, settings), strict=True)]
    train, val, test = ([text.decode() for text in side] for side in zip(*split, strict=True))
    return train, val, test


def size_of(texts: list[str]) -> int:
    return len("".join(texts).encode())


TEXTS = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), min_size=1, max_size=12)
VAL, TEST = st.floats(0.05, 0.5), st.sampled_from([0.0, 0.1, 0.3])
SEEDS = st.integers(0, 99)


@settings(deadline=None)
@given(TEXTS, VAL, TEST, SEEDS)
def test_whole_documents_fall_on_one_side(texts: list[str], val: float, test: float, seed: int) -> None:
    try:
        sides = parts(texts, val_fraction=val, test_fraction=test, seed=seed)
    except UserError:
        largest = max(len(text.encode()) * texts.count(text) for text in texts)
        assert len(set(texts)) < 3 or largest >= (1 - val - test) * size_of(texts) / 4, "refused only if texts are few"
        return
    assert ["".join(each) for each in zip(*sides, strict=True)] == texts
    held = [{text for text in side if text} for side in sides]
    assert not held[0] & held[1] | held[0] & held[2] | held[1] & held[2], "no leak, not even by copies"
    assert size_of(sides[1]) >= val * size_of(texts) - 1e-6
    assert size_of(sides[2]) >= test * size_of(texts) - 1e-6 or not held[0]
    assert held[0]
    assert sides == parts(texts, val_fraction=val, test_fraction=test, seed=seed)


def test_each_side_takes_no_more_documents_than_it_needs() -> None:
    _, val, test = parts([f"document {i:03d}" for i in range(100)], val_fraction=0.25, test_fraction=0.1)
    assert (sum(map(bool, val)), sum(map(bool, test))) == (25, 10)


def test_a_test_split_leaves_validation_as_it_was() -> None:
    texts = [f"document {i:03d}" for i in range(100)]
    assert parts(texts)[1] == parts(texts, test_fraction=0.2)[1]


def test_another_seed_keeps_other_documents_and_another_order_of_the_corpus_the_same() -> None:
    texts = [f"document {i}" for i in range(100)]
    assert parts(texts, seed=1) != parts(texts, seed=2)
    assert parts(texts)[1] == parts(texts[::-1])[1][::-1]


@settings(deadline=None)
@given(TEXTS, VAL, TEST)
def test_the_tail_is_the_end_of_the_text(texts: list[str], val: float, test: float) -> None:
    train, val_texts, test_texts = parts(texts, val_fraction=val, test_fraction=test, val_split="tail")
    assert "".join(train) + "".join(val_texts) + "".join(test_texts) == "".join(texts)
    size = size_of(texts)
    assert -1e-6 <= size * (1 - val - test) - size_of(train) < 4, "within one character of where it was asked"
    assert -1e-6 <= size * (1 - test) - size_of(train + val_texts) < 4


@pytest.mark.parametrize("val_split", ["documents", "tail"])
def test_no_window_of_50_bytes_is_on_two_sides(val_split: str) -> None:
    """For a non-repeating text with multi-byte characters, cut at every position near the boundary."""
    for fraction in np.linspace(0.2, 0.21, 12):
        texts = [prose(seed, 500) for seed in range(12)]
        sides = parts(texts, val_split=val_split, val_fraction=float(fraction), test_fraction=0.2)
        windows = []
        for side in sides:
            joined = "".join(side).encode()
            windows.append({joined[i : i + 50] for i in range(len(joined) - 49)})
        assert all(map(bool, windows))
        assert not windows[0] & windows[1] | windows[0] & windows[2] | windows[1] & windows[2]


def test_the_tail_of_one_text_is_that_of_nanogpt() -> None:
    text = "0123456789" * 111539 + "0123"
    assert len(parts([text], val_split="tail")[0][0]) == int(len(text) * 0.9)


def test_one_document_cannot_be_split_by_documents() -> None:
    with pytest.raises(UserError, match=r"^tokenize.val_fraction=0.1 .* 1 document.*val_split=tail"):
        parts(["all of it"])


def test_copies_that_leave_training_next_to_nothing() -> None:
    refusals = []
    for seed in range(9):
        try:
            train, val, _ = parts(["the same text"] * 100 + ["another"], seed=seed)
            assert ("".join(train), "".join(val)) == ("the same text" * 100, "another")
        except UserError as error:
            refusals.append(str(error))
    assert refusals
    for line in refusals:
        assert "100 documents of 13 bytes are identical and stay together: data.deduplicate=true keeps one" in line
    with pytest.raises(UserError, match=r"would give training 5 bytes, .* 2 document\(s\) stays whole; set"):
        parts(["a large text " * 99, "small"], seed=0)
    with pytest.raises(UserError, match=r" 3 document\(s\) stays whole; set"):
        parts(["a large text " * 99, "small", "small"], seed=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [("tokenizer", "gpt3"), ("vocab_size", 256), ("val_fraction", 0.0), ("val_fraction", 1.0), ("val_split", "random"),
     ("test_fraction", 0.9)],
)  # fmt: skip
def test_settings_out_of_range(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        config(**{field: value})
