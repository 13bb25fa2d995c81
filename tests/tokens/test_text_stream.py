"""Pieces of text while ids come are, together, the text of all ids, and none ends within a character."""

from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models

from gptcore.tokens.make_tokenizer import byte_tokenizer, char_tokenizer, train_bpe
from gptcore.tokens.text_stream import TextStream
from gptcore.tokens.tokenizer import Tokenizer

TEXT = "ROMEO. But, soft! \u00e9t\u00e9 \u4ec1\u7fa9 \U0001f3ad\U0001f9d1\u200d\U0001f680 \ufffd"


def byte_fallback() -> Tokenizer:
    """As Llama's: what has no token is spelled in bytes, and a run of bytes that is not UTF-8 decodes as a whole."""
    names = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", "a", "\u00e9"]
    made = tokenizers.Tokenizer(
        models.BPE({name: number for number, name in enumerate(names)}, [], byte_fallback=True, unk_token="<unk>")
    )
    made.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    return Tokenizer("huggingface", "", (), made.to_str().encode(), None)


def byte_level() -> Tokenizer:
    made = tokenizers.Tokenizer(models.BPE({name: number for number, name in enumerate(sorted(
        tokenizers.pre_tokenizers.ByteLevel.alphabet()))}, []))  # fmt: skip
    made.decoder = decoders.ByteLevel()
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return Tokenizer("huggingface", "", (), made.to_str().encode(), None)


KINDS = {
    "byte": byte_tokenizer(), "bpe": train_bpe(iter([TEXT * 9]), 280), "char": char_tokenizer([TEXT]),
    "byte fallback": byte_fallback(), "byte level": byte_level(),
}  # fmt: skip


def pieces(tokenizer: Tokenizer, ids: list[int], sizes: list[int]) -> list[str]:
    stream, found = TextStream(tokenizer), []
    for size in sizes:
        found.append(stream.push(ids[:size]))
        ids = ids[size:]
    return [*found, stream.push(ids), stream.end()]


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=60)
@given(data=st.data(), sizes=st.lists(st.integers(0, 3), max_size=40))
def test_together_they_are_the_text_of_all_ids(kind: str, data: st.DataObject, sizes: list[int]) -> None:
    """Of any ids, also of those that are no text."""
    tokenizer = KINDS[kind]
    sayable = sorted(set(range(tokenizer.n_vocab)) - set(tokenizer.unsayable_ids))
    ids = data.draw(st.lists(st.sampled_from(sayable), max_size=40))
    assert "".join(pieces(tokenizer, ids, sizes)) == tokenizer.decode(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_no_piece_has_a_character_that_the_text_has_not(kind: str) -> None:
    tokenizer = KINDS[kind]
    text = TEXT if kind != "byte fallback" else TEXT.replace("\ufffd", "")
    text = tokenizer.decode(tokenizer.encode(text))
    ids = tokenizer.encode(text).tolist()
    found = pieces(tokenizer, ids, [1] * len(ids))
    assert "".join(found) == text
    assert sum(piece.count("\ufffd") for piece in found) == text.count("\ufffd")
    if kind != "byte fallback":
        assert found[-1] == ("\ufffd" if kind == "byte level" else "")  # nothing waits but what may still change


def test_a_cut_character_becomes_one_mark_at_the_end() -> None:
    found = pieces(byte_tokenizer(), list("a\u4ec1".encode())[:-1], [1, 1, 1])
    assert found == ["a", "", "", "", "\ufffd"]


def test_ids_without_a_token_cannot_be_said(tmp_path: Path) -> None:
    made = tokenizers.Tokenizer(models.WordLevel({"a": 0, "b": 4}, unk_token="a"))
    gaps = Tokenizer("huggingface", "", (), made.to_str().encode(), None)
    assert (gaps.n_vocab, gaps.unsayable_ids) == (5, [1, 2, 3])
    assert byte_tokenizer().unsayable_ids == []
