"""A tokenizer in Hugging Face's format gives the same ids."""

from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from gptcore.tokens.huggingface_tokenizer import write_hugging_face_tokenizer
from gptcore.tokens.make_tokenizer import byte_tokenizer, train_bpe
from gptcore.tokens.tokenizer import PATTERNS, Tokenizer
from tests.support.corpora import prose

TOKENS = train_bpe(iter([prose(0, 20_000)]), 600).tokens
KINDS = [byte_tokenizer(), *(Tokenizer(kind, pattern, TOKENS) for kind, pattern in PATTERNS.items())]  # type: ignore[arg-type]
words = ["sun", "SUN", "Sun's", "we'LL", " ", "  ", "\n", "\r\n", ".\n\n", "\t", "12345", "é", "仁義", "!?/", "　", "'"]
texts = st.lists(st.sampled_from(words)).map("".join)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> list[tokenizers.Tokenizer]:
    found = []
    for ours in KINDS:
        folder = tmp_path_factory.mktemp(ours.kind)
        write_hugging_face_tokenizer(folder, ours)
        found.append(tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")))
    return found


@settings(deadline=None)
@given(texts)
def test_the_ids_are_the_same(theirs: list[tokenizers.Tokenizer], text: str) -> None:
    for ours, other in zip(KINDS, theirs, strict=True):
        assert other.encode(text).ids == ours.encode(text).tolist(), ours.kind


def test_sentencepieces_own_file_is_written(tmp_path: Path) -> None:
    write_hugging_face_tokenizer(tmp_path, Tokenizer("sentencepiece", "", (), b"model"))
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("tokenizer.model", b"model")]
