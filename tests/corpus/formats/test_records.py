"""Read texts from files of every format; a file that does not match its format gives a one-line error."""

import contextlib
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
from gptcore.corpus.formats.records import Format, known_format, read_texts
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
     ("a.tsv", "csv"), ("a.json", "jsonl"),     ("README.md", None), ("a.gz", None)],
)  # fmt: skip
def test_suffixes(name: str, form: Format | None) -> None:
    assert known_format(name) == form


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
        (
            "jsonl",
            b'{"text": "a"}\n{"text": "caf\xe9"}\n',
            'is not UTF-8 text: after \': "a"}\\n{"text": "caf\' comes 0xe9',
        ),
        ("jsonl", b'{"text": "a"}\n{"te', "record 2: is no JSON"),
        ("jsonl", b"[1]\n", "record 1: is no JSON object"),
        ("jsonl", b'{"text": 7}\n', "record 1: the field text is no text but int"),
        ("jsonl", b'{"text": "a"}\n{"tixt": "b"}\n', "record 2: has no field text; it has tixt"),
        ("jsonl", b'{"text": "\\ud800"}\n', "record 1: is no text: it holds half a character"),
        ("jsonl", b'{"text": ["a"]}\n', "record 1: the field text is no text but list"),
        ("csv", b"text,b\nx\n", "record 1: has not as many cells"),
        ("csv", b'text\n"a" b\n', "record 1: is no CSV"),
        ("csv", b"text\nb\ncaf\xe9\n", "is not UTF-8 text: after 'text\\nb\\ncaf' comes 0xe9; it seems Latin-1"),
        ("csv", b"text,b,text\nx,y,z\n", "has two columns named text"),
        ("csv", b"name,b\n", "has no field text; it has name, b"),
        ("parquet", b"PAR1 and no more", "is no Parquet that can be read"),
        ("text", gzip.compress(b"to be" * 999)[:-9], "cannot be unpacked"),
        ("text", zstandard.compress(b"to be" * 999)[:-2], "cannot be unpacked"),
    ],
)
def test_what_is_not_what_it_is_taken_for(tmp_path: Path, form: Format, wrong: bytes, line: str) -> None:
    assert line in refusal(tmp_path, form, wrong)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_first_line_tells_what_separates_cells(tmp_path: Path, delimiter: str) -> None:
    rows = [["text", "by\nwhom"], ["a,b;c\td|e", "x"], ["", "y"]]
    table = "\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows) + "\n\n"
    path, told = write(tmp_path, table.encode("utf-8-sig")), delimiter if delimiter == "|" else ""
    assert [each.text for each in read_texts(path, "a", "csv", "text", "", told)] == ["a,b;c\td|e", ""]


def test_columns_of_one_name_are_refused_where_they_are_read(tmp_path: Path) -> None:
    table = pyarrow.table([pyarrow.array(["a"])] * 3, names=["text", "twice", "twice"])
    pyarrow.parquet.write_table(table, tmp_path / "table")
    wide = (tmp_path / "table").read_bytes()
    for form, content in (("parquet", wide), ("csv", b"text,twice,twice\na,a,a\n")):
        assert texts(tmp_path, form, content) == ["a"]  # type: ignore[arg-type]
        assert refusal(tmp_path, form, content, "twice").endswith(
            "has two columns named twice; rename or remove one of them"
        )  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_nested_fields(tmp_path: Path, form: Format) -> None:
    rows = [{"message": {"content": f"a{n}"}, "turns": [{"say": "b"}, {"say": "c"}], "x.y": "d"} for n in range(3)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "table")
    jsonl = "".join(json.dumps(row) + "\n" for row in rows).encode()
    content = jsonl if form == "jsonl" else (tmp_path / "table").read_bytes()
    assert texts(tmp_path, form, content, "message.content") == ["a0", "a1", "a2"]
    assert texts(tmp_path, form, content, "{turns.1.say}{{{x.y}}}")[0] == "c{d}"
    assert "record 1: has no field turns.2.say; turns has 0, 1" in refusal(tmp_path, form, content, "turns.2.say")


def test_damaged_parquet_is_one_line(tmp_path: Path) -> None:
    """Wherever the damage is: the footer, a page's header, or its packed content."""
    table = pyarrow.table({"text": [f"text {number}" for number in range(300)]})
    for codec in ("none", "snappy", "gzip", "brotli", "zstd", "lz4"):
        pyarrow.parquet.write_table(table, tmp_path / "table", compression=codec, write_page_checksum=True)
        whole = (tmp_path / "table").read_bytes()
        assert len(texts(tmp_path, "parquet", whole)) == 300
        for at in range(4, len(whole), len(whole) // 23):
            with contextlib.suppress(UserError):
                texts(tmp_path, "parquet", whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        assert "checksum" in refusal(tmp_path, "parquet", whole[:200] + b"x" + whole[201:])
    assert "is no Parquet that can be read: Could not read encrypted" in refusal(
        tmp_path, "parquet", whole[:-4] + b"PARE"
    )


def test_a_frame_to_skip_and_a_long_window(tmp_path: Path) -> None:
    skipped = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"skip"
    assert texts(tmp_path, "text", skipped + zstandard.compress(b"to be")) == ["to be"]
    long = zstandard.ZstdCompressionParameters.from_level(1, window_log=28)
    stream = zstandard.ZstdCompressor(compression_params=long).compressobj()
    assert texts(tmp_path, "text", stream.compress(b"to be") + stream.flush()) == ["to be"]


def test_null_is_the_empty_text(tmp_path: Path) -> None:
    assert texts(tmp_path, "jsonl", b'{"text": null}\n') == [""]
    assert texts(tmp_path, "jsonl", b'{"text": null}\n', "text.inside") == [""]


MEASURE = """
import re, sys
from pathlib import Path
from gptcore.corpus.formats.records import read_texts
size = sum(len(each.text) for each in read_texts(Path(sys.argv[1]), "a", sys.argv[2], "text", ""))
# ru_maxrss would count that of the process which started this one
print(size, re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.parametrize("form", ["text", "jsonl", "parquet"])
def test_memory_is_that_of_a_piece_whatever_the_file_weighs(tmp_path: Path, form: Format) -> None:
    path, line, rows = tmp_path / "file", "a line of text " * 300 + "\n", 45_000  # 200 MB
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
