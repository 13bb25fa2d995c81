"""Records of JSON files in any layout, found in blocks of any size and in constant memory."""

import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gptcore.corpus.formats.json_records as json_records
from gptcore.corpus.formats.unpack import _Blocks
from gptcore.errors import UserError


def records(content: bytes, fields: tuple[str, ...] = ("text",)) -> list[Any]:
    return list(json_records.json_records(io.BufferedReader(io.BytesIO(content)), "a", list(fields)))  # type: ignore[arg-type]


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=3), inside, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=3), VALUES, max_size=3), max_size=4), st.integers(1, 40), st.data())
def test_every_layout_in_blocks_of_every_size(rows: list[Any], block: int, data: st.DataObject) -> None:
    indent, ascii_only = data.draw(st.sampled_from([None, 0, 2])), data.draw(st.booleans())
    each = [json.dumps(row, indent=indent, ensure_ascii=ascii_only) for row in rows]
    whole = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    mark = data.draw(st.sampled_from(["", "\ufeff"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_records, "BLOCK_CHARACTERS", block)
        for layout in ("\n".join(each), "\r\n\n  \n".join(each) + "\n\n", whole, f" \n{whole}\n"):
            assert records((mark + layout).encode(errors="surrogatepass")) == rows


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'[{"text": "a"} {"text": "b"}]', "record 1: is followed by '{', not by a comma"),
        (b'[{"text": "a"}, ]', "record 2: is no JSON: Expecting value, at character 0"),
        (b'[{"text": "a"},\n', "record 2: is no JSON"),
        (b'[{"text": "a"}', "record 1: is the last one that is whole: the array has no end"),
        (b'[{"text": "a"}]\n[{"text": "b"}]', "record 1: is the last one of the array, but more follows"),
        (b'[["a"]]', "record 1: is no JSON object"),
        (b'{"text": "a"}\n{"text": "b}\n', "record 2: is no JSON: Invalid control character, at character 12"),
        (b'{"text": "a", "n": ' + b"[" * 100_000, "record 1: is no JSON that can be read: it is nested too deeply"),
        (b'{"text": "a", "text": "b"}', "record 1: has the field text twice"),
    ],
)
def test_what_is_no_json(content: bytes, line: str) -> None:
    with pytest.raises(UserError) as error:
        records(content)
    assert str(error.value).startswith(f"a: {line}")


def test_numbers_of_any_length_and_fields_twice_where_nobody_reads() -> None:
    [record] = records(b'{"n": ' + b"9" * 4301 + b', "text": "a", "m": 1, "m": 2}')
    assert record["text"] == "a"


def test_memory_is_that_of_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    def pretty() -> Iterator[bytes]:
        yield b"[\n"
        for _ in range(2000):
            yield json.dumps({"text": "a line of text " * 300}, indent=2).encode() + b",\n"
        yield b'{"text": "the last"}]'

    file = io.BufferedReader(_Blocks(pretty()))
    tracemalloc.start()
    try:
        assert sum(1 for _ in json_records.json_records(file, "a", ["text"])) == 2001
        assert tracemalloc.get_traced_memory()[1] < 2_500_000, "of 9 MB"
    finally:
        tracemalloc.stop()


def test_a_record_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_records, "RECORD_CHARACTERS", 1 << 20)
    with pytest.raises(UserError, match=r"^a: record 1: is longer than 1,048,576 characters"):
        records(b'{"text": "' + b"x" * (3 << 20))
