"""The corpus file: it reads back as written, other text is refused, damage is reported."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptcore.corpus.documents import DOCUMENT_BYTES, Document, document, end_of_piece, read_documents, write_documents
from gptcore.errors import UserError

ZEROS = "0" * 64


@settings(deadline=None)
@given(st.lists(st.builds(Document, title=st.text(max_size=9), text=st.text(max_size=30)), max_size=5))
def test_written_and_read(tmp_path_factory: pytest.TempPathFactory, corpus: list[Document]) -> None:
    path = tmp_path_factory.mktemp("corpus") / "documents.jsonl"
    text = "".join(each.text for each in corpus).encode()
    sha256 = hashlib.sha256(text).hexdigest()
    assert write_documents(path, corpus, sha256) == (len(corpus), len(text), sha256)
    assert list(read_documents(path)) == corpus
    assert [json.loads(line)["title"] for line in path.read_bytes().splitlines()] == [each.title for each in corpus]


def test_another_text_is_refused_and_its_sha256_told(tmp_path: Path) -> None:
    sha256 = hashlib.sha256(b"to be").hexdigest()
    with pytest.raises(UserError, match=rf"1 documents, 5 bytes\) has the sha256 {sha256}, not {ZEROS}"):
        write_documents(tmp_path / "documents.jsonl", [Document(title="", text="to be")], ZEROS)
    assert not list(tmp_path.iterdir())


def test_without_a_pin_any_text_is_taken(tmp_path: Path) -> None:
    written = write_documents(tmp_path / "documents.jsonl", [document("to be")], "")
    assert written.text_sha256 == hashlib.sha256(b"to be").hexdigest()


def test_a_damaged_and_a_missing_corpus(tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl"
    with pytest.raises(UserError, match=r"documents.jsonl is missing; .*dvc repro download"):
        list(read_documents(path))
    path.write_text('{"title": "Hamlet", "te')
    with pytest.raises(UserError, match=r"documents.jsonl is damaged: Invalid JSON.*dvc repro download") as error:
        list(read_documents(path))
    assert "\n" not in str(error.value)


def test_the_first_line_is_the_title() -> None:
    assert document("\n  KING LEAR \r\nby William Shakespeare\r\n").title == "KING LEAR"
    assert document("x" * 200).title == "x" * 100
    assert document("x", "Hamlet").title == "Hamlet"


def test_long_texts_are_cut_where_lines_end_or_else_between_characters() -> None:
    lines = b"x" * (DOCUMENT_BYTES - 10) + b"\n" + b"y" * 20
    assert end_of_piece(lines) == DOCUMENT_BYTES - 9
    for shift in range(4):
        block = b"x" * shift + "\N{GRINNING FACE}".encode() * (DOCUMENT_BYTES // 4 + 1)
        end = end_of_piece(block)
        assert DOCUMENT_BYTES - 4 < end <= DOCUMENT_BYTES
        block[:end].decode()
