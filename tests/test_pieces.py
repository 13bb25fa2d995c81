"""Pieces hold the corpus once, and cutting a document changes none of its tokens."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gptcore.pieces
from gptcore.errors import UserError
from gptcore.pieces import pieces, read_piece
from gptcore.tokenizer import PATTERNS, Tokenizer, byte_tokenizer, train_bpe
from tests.corpora import prose, write_corpus

PROSE = prose(0, 20_000)
BPE = train_bpe(iter([PROSE]), 400)
TOKENIZERS = [byte_tokenizer(), *(Tokenizer(kind, pattern, BPE.tokens) for kind, pattern in PATTERNS.items())]  # type: ignore[arg-type]
LINE = '{"title": "x", "text": "y"}\n'


def read(corpus: Path, piece_bytes: int) -> list[str]:
    """Every document, put together from its parts; no part is much longer than asked."""
    whole: list[str] = []
    for piece in pieces(corpus, piece_bytes):
        _, documents = read_piece(corpus, piece)
        texts = [document.text for document in documents]
        if piece.inside:
            whole[-1] += texts.pop(0)
        whole += texts
    return whole


@pytest.mark.parametrize("piece_bytes", [100, 1000, 7000, 1 << 22])
def test_documents_come_back_whole(piece_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gptcore.pieces, "LOOK_BYTES", piece_bytes // 2)
    corpus = {f"{i}": prose(i, 10 + 700 * i % 5000) for i in range(20)}
    path = write_corpus(tmp_path, corpus) / "data/raw/documents.jsonl"
    assert read(path, piece_bytes) == list(corpus.values())
    ranges = [(piece.start, piece.end) for piece in pieces(path, piece_bytes)]
    assert [0, *(end for _, end in ranges)] == [*(start for start, _ in ranges), path.stat().st_size]
    assert max(end - start for start, end in ranges) < 2 * piece_bytes + 500


words = st.lists(
    st.sampled_from(["sun", " ", "  ", "\n", ".\n", "\t", '"', "\\", "\\n", "　", "7", "é", "仁", "!"]), max_size=150
)


@settings(deadline=None)  # the first example builds tokenizers, and machines are busy
@given(words.map("".join))
def test_the_tokens_of_the_parts_are_those_of_the_whole(text: str) -> None:
    line = json.dumps({"title": "", "text": text}, ensure_ascii=False, separators=(",", ":")).encode()
    cuts = [match.end() for match in gptcore.pieces.CUT.finditer(line, line.index(gptcore.pieces.TEXT) + 8)]
    head = line.index(gptcore.pieces.TEXT) + len(gptcore.pieces.TEXT)
    edges = [head, *cuts, len(line) - 2]
    parts = [json.loads(b'"' + line[start:end] + b'"') for start, end in pairwise(edges)]
    assert "".join(parts) == text
    for tokenizer in TOKENIZERS:
        assert np.concatenate([tokenizer.encode(part) for part in parts]).tolist() == tokenizer.encode(text).tolist()


def test_equal_texts_are_cut_alike_whatever_their_titles(tmp_path: Path) -> None:
    path = write_corpus(tmp_path, {"a": PROSE, "a much longer title": PROSE}) / "data/raw/documents.jsonl"
    parts: list[list[str]] = []
    for piece in pieces(path, 3000):
        if not piece.inside:
            parts.append([])
        parts[-1] += [document.text for document in read_piece(path, piece)[1]]
    assert len(parts[0]) > 5
    assert parts[0] == parts[1]


@pytest.mark.parametrize("damage", [b"{", b'{"title": "x"}', b"\xff", b""])
def test_a_damaged_corpus_is_named(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl"
    path.write_bytes(LINE.encode() + damage + b"\n")
    [piece] = pieces(path)
    with pytest.raises(UserError, match=r"documents.jsonl is damaged between bytes 0 and .*dvc repro download"):
        read_piece(path, piece)


def test_a_corpus_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"documents.jsonl is missing; .*dvc repro download"):
        list(pieces(tmp_path / "documents.jsonl"))
