"""Published rows, and rows that are wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from gptcore.errors import UserError
from gptcore.evaluation.benchmarks.items import Choices, Cloze, Page
from gptcore.evaluation.benchmarks.schemas import HellaSwag, Lambada, Question, Row, WikiText, read_item
from gptcore.evaluation.benchmarks.suite import open_benchmark
from tests.support.benchmarks import HELLASWAG, LAMBADA, QUESTION, WIKITEXT


def test_what_rows_ask() -> None:
    row = {**HELLASWAG, "ctx_a": "[header] How to rest [title] Sit  down.", "ctx_b": "THE dog", "label": "3"}
    assert read_item(HellaSwag, row, "") == Choices(
        "Resting: How to rest. Sit down. The dog",
        ("reads a book.", " flies.", "is a chair, \u00e9t\u00e9.", "sleeps"),
        3,
    )
    assert read_item(Lambada, {"text": "the sound and the fury"}, "") == Cloze("the sound and the", " fury")
    page = read_item(WikiText, {"page": ' = = A = = \n 1 @,@ 000 men ( " é " ) , N \'s \n'}, "")
    assert page == Page(' == A ==\n1,000 men ("é"), 1\'s\n', words=19, n_bytes=46)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({**QUESTION, "gold": 2}, "gold is 2, but there are 2 choices, counted from 0"),
        ({**QUESTION, "gold": "x"}, "gold: Input should be a valid integer"),
        ({**QUESTION, "choices": ["one"]}, "choices: List should have at least 2 items"),
        ({**QUESTION, "choices": ["one", 2]}, "choices.1: Input should be a valid string"),
        ({"query": "?"}, "choices: Field required"),
        ({**QUESTION, "query": "\ud800"}, "query: holds half a character, '\\ud800'"),
        ([1], "is no JSON object"),
    ],
)
def test_a_wrong_row_is_named_by_file_and_line(second: object, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a 100%.jsonl"
    path.write_text(f"{json.dumps(QUESTION)}\n\n{json.dumps(second)}\n")
    with pytest.raises(UserError) as refusal:
        open_benchmark(str(path), None, None)
    assert str(refusal.value).startswith(f"{path}, line 3: {said}") and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"page": "a"}\n{"page": ', "line 2: is no JSON"),
        (b'{"page": "\xff"}', "line 1: is no JSON"),
        (b'{"a": 1}', "line 1: has the fields a; a task's rows have activity_label, ctx_a"),
        (b"\n", "there is no row in it"),
    ],
)
def test_a_wrong_file(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        open_benchmark(str(path), None, None)


def test_known_tasks_want_their_own_fields(tmp_path: Path) -> None:
    (tmp_path / "hellaswag.jsonl").write_text(json.dumps(LAMBADA))
    with pytest.raises(UserError, match=r"hellaswag\.jsonl, line 1: activity_label: Field required"):
        open_benchmark("hellaswag", tmp_path, None)
    with pytest.raises(UserError, match=r"there is no task helaswag, .* did you mean hellaswag"):
        open_benchmark("helaswag", tmp_path, None)
    with pytest.raises(UserError, match=r"lambada\.jsonl cannot be read: No such file or directory$"):
        open_benchmark("lambada", tmp_path, None)


@pytest.mark.parametrize(
    ("row", "schema"), [(HELLASWAG, HellaSwag), (QUESTION, Question), (LAMBADA, Lambada), (WIKITEXT, WikiText)]
)
def test_the_first_row_tells_what_a_file_holds(row: dict[str, Any], schema: type[Row], tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text(json.dumps(row))
    found = open_benchmark(str(tmp_path / "own.jsonl"), None, None)
    assert (found.name, found.schema, found.rows) == ("own", schema, [row])
