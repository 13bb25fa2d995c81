"""Which texts of a source become documents, and how dropped ones are reported."""

import json
from pathlib import Path
from typing import Any

import pytest

from gptcore.errors import UserError
from tests.corpus.test_sources import config, corpus

ROWS = [
    {"text": "one", "language": "en"},
    {"text": "deux", "language": "fr"},
    {"text": "three", "language": "en"},
    {"text": "one", "language": "en"},
    {"text": " ", "language": "en"},
    {"text": "five", "language": "de"},
]


def kept(folder: Path, rows: list[dict[str, Any]] = ROWS, **values: Any) -> tuple[list[str], dict[str, int]]:
    """The texts kept, and the counts of those dropped."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = corpus(folder, "rows.jsonl", **values)
    found = [each.text for each in made.documents()]
    return found, {why: count for why, count in made.selection.dropped.model_dump().items() if count}


def test_empty_texts_are_dropped_or_refused(tmp_path: Path) -> None:
    assert kept(tmp_path) == (["one", "deux", "three", "one", "five"], {"empty": 1})
    with pytest.raises(UserError, match=r"^rows.jsonl: record 5: holds no text; .* data.min_bytes=1 to drop all such$"):
        kept(tmp_path, min_bytes=0)


def test_languages(tmp_path: Path) -> None:
    found = kept(tmp_path, languages=["en", "fr"])
    assert found == (["one", "deux", "three", "one"], {"language": 1, "empty": 1})
    with pytest.raises(UserError, match=r"record 1: has no field lang; it has text, language"):
        kept(tmp_path, languages=["en"], language_field="lang")
    with pytest.raises(ValueError, match=r"languages need data.language_field"):
        config(languages=["en"], language_field="")


def test_duplicates_and_short_texts(tmp_path: Path) -> None:
    assert kept(tmp_path, deduplicate=True) == (["one", "deux", "three", "five"], {"empty": 1, "duplicate": 1})
    assert kept(tmp_path, min_bytes=4) == (["deux", "three", "five"], {"empty": 1, "too_short": 2})


def test_limits_take_whole_documents_from_the_start(tmp_path: Path) -> None:
    assert kept(tmp_path, max_documents=2) == (["one", "deux"], {})
    assert kept(tmp_path, max_bytes=11) == (["one", "deux"], {}), "the third would make it 12"
    assert kept(tmp_path, max_bytes=12)[0] == ["one", "deux", "three"]
    with pytest.raises(UserError, match=r"record 1: 3 bytes are more than data.max_bytes=2"):
        kept(tmp_path, max_bytes=2)


def test_files_after_the_limit_are_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("enough")
    made = corpus(tmp_path, ["a.txt", "http://127.0.0.1:9/never-asked.txt"], max_documents=1)
    assert [each.text for each in made.documents()] == ["enough"]


def test_when_nothing_is_left(tmp_path: Path) -> None:
    line = r"no document is left of it: its texts were {}$"
    with pytest.raises(UserError, match=line.format("1 empty or only white space, 5 shorter than data.min_bytes=9")):
        kept(tmp_path, min_bytes=9)
    with pytest.raises(UserError, match=line.format("6 in other languages than nl, be")):
        kept(tmp_path, languages=["nl", "be"])
    with pytest.raises(UserError, match=r"no document is left of it: it holds no records$"):
        kept(tmp_path, [])
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(UserError, match=line.format("1 empty or only white space")):
        list(corpus(tmp_path, "empty.txt").documents())
