"""Pieces contain the whole corpus once, in order."""

from pathlib import Path

import pytest

from gptcore.errors import UserError
from gptcore.tokens.pieces import pieces, read_piece
from tests.support.corpora import prose, write_corpus


@pytest.mark.parametrize("piece_bytes", [1, 100, 3000, 1 << 22])
def test_documents_come_back(piece_bytes: int, tmp_path: Path) -> None:
    corpus = {f"{i}": prose(i, 10 + 700 * i % 5000) for i in range(20)}
    path = write_corpus(tmp_path, corpus) / "data/raw/documents.jsonl"
    found = list(pieces(path, piece_bytes))
    assert [document.text for piece in found for document in read_piece(path, piece)[1]] == list(corpus.values())
    assert [0, *(piece.end for piece in found)] == [*(piece.start for piece in found), path.stat().st_size]
    longest = max(map(len, path.read_bytes().splitlines(keepends=True)))
    assert all(piece.end - piece.start < piece_bytes + longest for piece in found)


@pytest.mark.parametrize("damage", [b"{", b'{"title": "x"}', b"\xff", b""])
def test_a_damaged_corpus_is_named(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl"
    path.write_bytes(b'{"title": "x", "text": "y"}\n' + damage + b"\n")
    [piece] = pieces(path)
    with pytest.raises(UserError, match=r"documents.jsonl is damaged between bytes 0 and .*dvc repro download"):
        read_piece(path, piece)


def test_a_corpus_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"documents.jsonl is missing; .*dvc repro download"):
        list(pieces(tmp_path / "documents.jsonl"))
