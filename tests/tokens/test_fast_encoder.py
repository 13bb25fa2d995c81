"""gigatoken gives tiktoken's ids for every text that it is given."""

import random
from itertools import product

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gptcore.tokens.fast_encoder
from gptcore.tokens.fast_encoder import FastEncoder
from gptcore.tokens.tokenizer import BYTES, GPT2_PATTERN, PATTERNS, Tokenizer

PAIRS = [bytes(pair) for pair in product(range(256), repeat=2)]
random.Random(0).shuffle(PAIRS)
# Each two bytes are a token, so that another split shows in the ids.
TOKENIZERS = [Tokenizer(kind, pattern, (*BYTES, *PAIRS)) for kind, pattern in PATTERNS.items()]

tricky = st.sampled_from([
    "sun", "aB", "ÀÉ", "ǅ", "ª", "ς", "İ", " ", "  ", "\n", "\n\n", "\r", "\r\n", "\t", "    ", "\0", "\x1c", "\x85",
    "\xa0", "\u2028", "\u3000", "\u200b", "\ufeff", "\ufffd", "'s", "'S", "'ſ", "'ll", "'LL", "'", "’re", "7", "12345",
    "½", "²", "٣", "Ⅷ", "!", "...", "/", "//\n", "_", "e\u0301", "한국어", "\u1112\u1161\u11ab", "日本語", "मराठी",
    "ไทย", "👩‍👩‍👧", "🇩🇪", "👍🏽", "𝔘",
    "\U00010940", "\U0010ffff", "<|endoftext|>", "<|fim_prefix|>", "<|endofprompt|>",
])  # fmt: skip
runs = st.builds(
    str.__mul__, st.sampled_from(["x", "é", " ", "\n", "\r\n", "9", "!", "\xa0", "日"]), st.integers(20, 90)
)
mixed = st.lists(tricky | runs | st.text(st.characters(codec="utf-8"), max_size=8), max_size=40).map("".join)


@settings(deadline=None)  # the first example builds tokenizers, and machines are busy
@given(mixed)
def test_the_ids_of_any_text_are_those_of_tiktoken(text: str) -> None:
    for tokenizer in TOKENIZERS:
        assert tokenizer.encode_documents([text.encode()])[1:].tolist() == tokenizer.encoding.encode_ordinary(text)


def test_the_ids_of_each_character_are_those_of_tiktoken() -> None:
    """Both libraries have tables of letters, digits and marks, which are of different versions of Unicode."""
    planes = [*range(0xD800), *range(0xE000, 0x34000), *range(0xE0000, 0xE0200)]
    texts = [
        "".join(f"A{chr(point)}a!{chr(point)}!" for point in planes[start : start + 128])
        for start in range(0, len(planes), 128)
    ]
    for tokenizer in TOKENIZERS[::2]:  # cl100k_base asks for the same classes of characters as gpt2
        expected = tokenizer.encoding.encode_ordinary_batch(texts, num_threads=1)
        for text, ids in zip(texts, expected, strict=True):
            assert tokenizer.encode_documents([text.encode()])[1:].tolist() == ids, f"near {text[1]!a}"


@pytest.mark.parametrize("character", "a\xa0")
def test_a_megabyte_of_one_character_takes_no_longer_than_other_text(character: str) -> None:
    encoder = FastEncoder(TOKENIZERS[0].tokens, "gpt2")
    used = psutil.Process().cpu_times().user
    encoder.encode(character.encode() * 1_000_000)
    assert psutil.Process().cpu_times().user - used < 10, "squared it is hours"


def test_forgetting_its_words_changes_no_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = FastEncoder(TOKENIZERS[0].tokens, "gpt2")
    text = b"To be, or not to be: that is the question."
    ids, first = encoder.encode(text), encoder._gigatoken
    encoder.bound_memory()
    assert encoder._gigatoken is first
    monkeypatch.setattr(gptcore.tokens.fast_encoder, "CACHE_BYTES", -(1 << 40))  # as if the process had grown
    encoder.bound_memory()
    assert encoder._gigatoken is not first
    assert encoder.encode(text).tolist() == ids.tolist()


def test_a_vocabulary_that_gigatoken_cannot_take_is_left_to_tiktoken() -> None:
    assert FastEncoder.of((*BYTES[1:], b"ab", BYTES[0]), GPT2_PATTERN) is None, "an id of a byte beyond 255"
    no_merge = Tokenizer("bpe", GPT2_PATTERN, (*BYTES, b"abc"))
    assert FastEncoder.of(no_merge.tokens, no_merge.pattern) is None, "not two earlier tokens"
    assert no_merge.encode_documents([b"abc"]).tolist() == [257, 256]
