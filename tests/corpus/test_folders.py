"""Local sources: files, folders and patterns; what is left out is said, and what cannot be read is refused by name."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gptcore.errors import UserError
from gptcore.files import read_json
from tests.corpus.test_sources import HAMLET, LEAR, corpus, texts
from tests.corpus.test_stage_download import documents, workspace
from tests.support.engine import run_stage_here


@pytest.fixture
def plays(tmp_path: Path) -> Path:
    folder = tmp_path / "plays"
    folder.mkdir()
    (folder / "a.txt").write_text(HAMLET)
    return folder


@pytest.fixture
def private() -> Iterator[Path]:
    """A folder that belongs to a user without root's rights, as whom the test runs."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, 65534 if user == 0 else user, -1)
        try:
            os.seteuid(65534 if user == 0 else user)
            yield Path(name)
        finally:
            os.seteuid(user)


def test_a_folder_is_read_in_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "plays/late").mkdir(parents=True)
    (tmp_path / "plays/b.txt").write_text(LEAR)
    (tmp_path / "plays/a.txt").write_text(HAMLET)
    (tmp_path / "plays/late/c.jsonl").write_text('{"text": "SONNETS"}\n')
    (tmp_path / "plays/notes.md").write_text("no text of the corpus")
    documents = list(corpus(tmp_path, "plays").documents())
    assert [each.title for each in documents] == ["HAMLET", "KING LEAR", "SONNETS"]
    assert texts(tmp_path, str(tmp_path / "plays/a.txt")) == [HAMLET]
    assert texts(tmp_path, "plays/**/[bc].*") == [LEAR, "SONNETS"]
    assert texts(tmp_path, ["plays/b.txt", "plays/a.txt"]) == [LEAR, HAMLET], "a list, in its order"
    assert texts(tmp_path, "plays/*.md") == ["no text of the corpus"], "who names it gets it"


def test_files_that_are_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"plays does not exist; name a text file or a folder"):
        texts(tmp_path, "plays")
    (tmp_path / "plays").mkdir()
    with pytest.raises(UserError, match=r"plays holds no text, JSON Lines, Parquet or CSV files"):
        texts(tmp_path, "plays")
    (tmp_path / "plays/a.txt").write_bytes(b"caf\xe9 latin")
    with pytest.raises(UserError, match=r"^plays/a.txt: is not UTF-8 text: byte 3 is 0xe9; it seems Latin-1"):
        texts(tmp_path, "plays")


def test_linked_folders_are_read_once(plays: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    (tmp_path / "elsewhere/deep/b.txt").write_text(LEAR)
    (plays / "linked").symlink_to(tmp_path / "elsewhere")
    (plays / "again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/up").symlink_to(plays)
    for source in ("plays", "plays/**/*.txt"):
        read = corpus(tmp_path, source)
        assert [each.text for each in read.documents()] == [HAMLET, LEAR]
        assert [address for address, _ in read.files] == ["plays/a.txt", "plays/again/deep/b.txt"]
        assert str(read.left_out) == "2 linked twice: again/up, linked"


def test_hidden_and_excluded_names_are_left_out_and_said(plays: Path, tmp_path: Path) -> None:
    for name in (".ipynb_checkpoints/b.txt", "_temporary/0/c.txt", "deep/._a.txt", "deep/draft-1.txt", "notes.md"):
        (plays / name).parent.mkdir(parents=True, exist_ok=True)
        (plays / name).write_text(name)
    read = corpus(tmp_path, "plays", exclude=["_temporary", "draft*"])
    assert [each.text for each in read.documents()] == [HAMLET]
    assert str(read.left_out) == (
        "4 hidden or in data.exclude: .ipynb_checkpoints, _temporary, deep/._a.txt, ...; "
        "1 with a suffix of no known format: notes.md"
    )
    assert texts(tmp_path, "plays/*/*.txt") == ["deep/draft-1.txt"], "patterns leave them out as well"
    assert texts(tmp_path, "plays/.ipynb*/*.txt") == [".ipynb_checkpoints/b.txt"], "who names it gets it"
    assert texts(tmp_path, "plays/*/*/c.txt", exclude=[]) == ["_temporary/0/c.txt"]
    with pytest.raises(UserError, match=r"no file matches the pattern .*; left out: 1 hidden .*: _temporary$"):
        texts(tmp_path, "plays/_t*/*/c.txt")


def test_what_was_left_out_is_counted(plays: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (plays / ".b.txt").write_text("hidden")
    assert run_stage_here("download", workspace(tmp_path, source="plays", sha256="")) == 0
    assert "download  left out: 1 hidden or in data.exclude: .b.txt\n" in capsys.readouterr().out
    assert read_json(tmp_path / "data/raw/metrics.json")["left_out"] == 1


def test_what_is_no_file(plays: Path, tmp_path: Path) -> None:
    """In a folder, for a pattern, and named itself."""
    for make, line in (
        (lambda path: path.symlink_to("nowhere"), "is a link to nothing, nowhere; mend or remove it"),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
        (os.mkfifo, "is a pipe, socket or device; save what it gives to a file"),
        (lambda path: path.symlink_to("/proc/self/mem"), "b.txt: cannot be read: Input/output error"),
    ):
        make(plays / "b.txt")
        for source in ("plays", "plays/*.txt", "plays/b.txt"):
            with pytest.raises(UserError, match=r"plays/b.txt") as error:
                texts(tmp_path, source)
            assert line in str(error.value)
        assert texts(tmp_path, "plays", exclude=["b.txt"]) == [HAMLET]
        (plays / "b.txt").unlink()


def test_what_may_not_be_read(private: Path) -> None:
    (private / "plays/secret").mkdir(parents=True)
    (private / "plays/secret/a.txt").write_text(HAMLET)
    (private / "plays/b.txt").write_text(LEAR)
    (private / "plays/secret").chmod(0)
    with pytest.raises(UserError, match=r"plays/secret: cannot be read: Permission denied; .* data.exclude$"):
        texts(private, "plays")
    assert texts(private, "plays", exclude=["secret"]) == [LEAR]
    assert texts(private, "plays/*.txt") == [LEAR], "a pattern that does not go there"
    (private / "plays/secret").chmod(0o700)
    (private / "plays/secret/a.txt").chmod(0)
    with pytest.raises(UserError, match=r"plays/secret/a.txt: cannot be read: Permission denied"):
        texts(private, "plays")


def test_patterns(plays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (plays / "b[1]").mkdir()
    (plays / "b[1]/c.txt").write_text(LEAR)
    assert texts(tmp_path, "plays/b[1]") == [LEAR], "a name comes before a pattern"
    assert texts(tmp_path, "plays/**") == texts(tmp_path, "**/*.txt") == [HAMLET, LEAR]
    assert texts(tmp_path / "plays/b[1]", "*.txt") == [LEAR], "what comes before the source is never a pattern"
    monkeypatch.setenv("HOME", str(plays / "b[1]"))
    assert texts(tmp_path, "~/*.txt") == [LEAR]
    with pytest.raises(UserError, match=r"no file matches the pattern .*/plays/\*\.md$"):
        texts(tmp_path, "plays/*.md")
    with pytest.raises(UserError, match=r"no file matches the pattern .*: .*/playz is no folder$"):
        texts(tmp_path, "playz/*.txt")


def test_names_that_are_not_utf8_or_one_line(plays: Path, tmp_path: Path) -> None:
    (plays / os.fsdecode(b"b\xe9.txt")).write_text(LEAR)
    (plays / "c\nd.txt").write_text("SONNETS")
    assert run_stage_here("download", workspace(tmp_path, source="plays", sha256="")) == 0
    assert len(documents(tmp_path)) == 3
    files = read_json(tmp_path / "data/raw/sources.json")["files"]
    assert [each["address"] for each in files] == ["plays/a.txt", "plays/b\\xe9.txt", "plays/c\\nd.txt"]
