"""Read texts from files of every format; a file that does not match its format gives a one-line error."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from gptcore.corpus.documents import DOCUMENT_BYTES
from gptcore.corpus.records import Format, known_format, read_texts, template_fields
from gptcore.errors import UserError

ROWS = [{"question": "Who’s there?", "answer": "Nay, answer me.", "language": "en"},
        {"question": "Qui, là?", "answer": "Non, réponds.", "language": "fr"}]  # fmt: skip
TEMPLATE = "{question}\n{answer}"
TEXTS = [f"{row['question']}\n{row['answer']}" for row in ROWS]


def content(form: Format, folder: Path) -> bytes:
    match form:
        case "jsonl":
            return "".join(json.dumps(row) + "\n" for row in ROWS).encode()
        case "csv":
            head = ",".join(ROWS[0])
            return "\r\n".join([head, *(",".join(f'"{cell}"' for cell in row.values()) for row in ROWS)]).encode()
        case "parquet":
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), folder / "table")
            return (folder / "table").read_bytes()
        case _:
            return TEXTS[0].encode()


def write(folder: Path, content: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(content)
    return path


def texts(folder: Path, form: Format, content: bytes, template: str = "text", language: str = "") -> list[str]:
    return [each.text for each in read_texts(write(folder, content), "corpus/a", form, template, language)]


def refusal(folder: Path, form: Format, content: bytes, template: str = "text") -> str:
    with pytest.raises(UserError) as error:
        texts(folder, form, content, template)
    assert "\n" not in str(error.value) and str(error.value).startswith("corpus/a: ")
    return str(error.value)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet", "text"])
def test_every_format_packed_or_not(tmp_path: Path, form: Format, pack: object) -> None:
    packed = pack(content(form, tmp_path))  # type: ignore[operator]
    expected = TEXTS[:1] if form == "text" else TEXTS
    assert texts(tmp_path, form, packed, TEMPLATE) == expected


def test_packed_files_put_together(tmp_path: Path) -> None:
    for pack in (gzip.compress, zstandard.compress):
        assert texts(tmp_path, "text", pack(b"To be, ") + pack(b"or not to be")) == ["To be, or not to be"]


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_one_field_and_the_language(tmp_path: Path, form: Format) -> None:
    path = write(tmp_path, content(form, tmp_path))
    found = list(read_texts(path, "corpus/a", form, "answer", "language"))
    assert [(each.text, each.language) for each in found] == [("Nay, answer me.", "en"), ("Non, réponds.", "fr")]
    assert found[1].where == "corpus/a: record 2"


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.txt", "text"), ("a.TXT.gz", "text"), ("a.jsonl.zst", "jsonl"), ("a.parquet", "parquet"), ("a.csv.gz", "csv"),
     ("README.md", None), ("a.gz", None)],
)  # fmt: skip
def test_suffixes(name: str, form: Format | None) -> None:
    assert known_format(name) == form


def test_fields_of_a_template() -> None:
    assert template_fields("text") == ["text"]
    assert template_fields("{a}\n{b} {a}") == ["a", "b"]
    for wrong in ("{}", "{0}", "{a.b}", "{a[0]}"):
        with pytest.raises(ValueError, match="must be a field's name"):
            template_fields(wrong)


def test_a_long_text_comes_in_pieces_and_nothing_is_lost(tmp_path: Path) -> None:
    line = "a line of text, größer als ASCII\n"
    text = line * (2 * DOCUMENT_BYTES // len(line))
    pieces = texts(tmp_path, "text", text.encode())
    assert "".join(pieces) == text
    assert len(pieces) == 3 and all(piece.endswith("\n") for piece in pieces)
    assert "".join(texts(tmp_path, "jsonl", json.dumps({"text": text}).encode())) == text


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_field_that_is_not_there(tmp_path: Path, form: Format) -> None:
    assert "has no field text; it has question, answer, language" in refusal(tmp_path, form, content(form, tmp_path))


@pytest.mark.parametrize(
    ("form", "wrong", "line"),
    [
        ("text", b"caf\xe9 latin", "is not UTF-8 text: byte 3 is 0xe9"),
        ("text", b"\x89PNG\r\n\0\0", "is no text, it holds zero bytes"),
        ("jsonl", b"PAR1\0\0", "is no text, it holds zero bytes"),
        ("jsonl", b'{"text": "a"}\n{"text": "caf\xe9"}\n', "record 2: is not UTF-8: byte 13 is 0xe9"),
        ("jsonl", b'{"text": "a"}\n{"te', "record 2: is no JSON"),
        ("jsonl", b"[1]\n", "record 1: is no JSON object"),
        ("jsonl", b'{"text": 7}\n', "record 1: the field text is no text but int"),
        ("jsonl", b'{"text": "a"}\n{"tixt": "b"}\n', "record 2: has no field text; it has tixt"),
        ("jsonl", b'{"text": "\\ud800"}\n', "record 1: is no text: it holds half a character"),
        ("csv", b"text,b\nx\n", "record 1: has not as many cells"),
        ("csv", b'text\n"a" b\n', "record 1: is no CSV"),
        ("csv", b"text\ncaf\xe9\n", "is not UTF-8"),
        ("parquet", b"PAR1 and no more", "is no Parquet that can be read"),
        ("text", gzip.compress(b"to be" * 999)[:-9], "cannot be unpacked"),
        ("text", zstandard.compress(b"to be" * 999)[:-2], "cannot be unpacked"),
    ],
)
def test_what_is_not_what_it_is_taken_for(tmp_path: Path, form: Format, wrong: bytes, line: str) -> None:
    assert line in refusal(tmp_path, form, wrong)


def test_null_is_the_empty_text(tmp_path: Path) -> None:
    assert texts(tmp_path, "jsonl", b'{"text": null}\n') == [""]


MEASURE = """
import re, sys
from pathlib import Path
from gptcore.corpus.records import read_texts
size = sum(len(each.text) for each in read_texts(Path(sys.argv[1]), "a", sys.argv[2], "text", ""))
# ru_maxrss would count that of the process which started this one
print(size, re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.parametrize("form", ["text", "jsonl", "parquet"])
def test_memory_is_that_of_a_piece_whatever_the_file_weighs(tmp_path: Path, form: Format) -> None:
    path, line, rows = tmp_path / "file", "a line of text " * 300 + "\n", 60_000  # 270 MB
    if form == "parquet":
        table = pyarrow.table({"text": pyarrow.array([line] * rows)})
        pyarrow.parquet.write_table(table, path, row_group_size=rows, use_dictionary=False, compression="none")
    else:
        text = line if form == "text" else json.dumps({"text": line}) + "\n"
        with path.open("w") as file:
            file.writelines(text for _ in range(rows))
    said = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), form], capture_output=True, text=True, check=True
    ).stdout.split()
    path.unlink()
    assert int(said[0]) == rows * len(line)
    assert int(said[1]) < 250_000, f"{said[1]} kB at most"
