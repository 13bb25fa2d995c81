"""Records that are prompts with responses, in each form, and what is refused of them."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from gptcore.config.presets import compose
from gptcore.corpus.chat_template import TEMPLATE, rendered
from gptcore.corpus.corpus import DataConfig
from gptcore.corpus.documents import document, write_documents
from gptcore.errors import UserError
from tests.corpus.test_sources import config, corpus
from tests.support.engine import REPOSITORY

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Bye"},
]
FORMS: list[tuple[dict[str, Any], list[str]]] = [
    ({"prompt": "a {b}", "completion": "c"}, ["a {b}", "c"]),
    ({"prompt": "", "completion": "c"}, ["", "c"]),
    ({"instruction": "i", "input": "", "output": "o"}, ["i", "o"]),
    ({"instruction": "i", "input": "x", "output": "o"}, ["i\n\nx", "o"]),
    ({"instruction": "i", "output": "o"}, ["i", "o"]),
    ({"messages": TALK}, ["Be brief.\n\nHi", "Hello"]),  # what nobody answers is not learned
    ({"messages": [*TALK, {"role": "assistant", "content": "<|endoftext|>"}]},
     ["Be brief.\n\nHi", "Hello", "Bye", "<|endoftext|>"]),
]  # fmt: skip


def turns(folder: Path, records: list[dict[str, Any]], **values: Any) -> list[list[str]]:
    (folder / "qa.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    return [each.parts for each in corpus(folder, "qa.jsonl", pairs=True, **values).documents()]


def test_each_form_becomes_turns_with_where_it_is_from(tmp_path: Path) -> None:
    assert turns(tmp_path, [record for record, _ in FORMS]) == [expected for _, expected in FORMS]
    found = list(corpus(tmp_path, "qa.jsonl", pairs=True).documents())
    assert [each.title for each in found] == [f"qa.jsonl: record {number}" for number in range(1, len(FORMS) + 1)]
    templates = {"prompt": "Q: {q.text}", "response": "{why}\n{answer}"}
    asked = [{"q": {"text": "who"}, "why": "so", "answer": "me"}]
    assert turns(tmp_path, asked, **templates) == [["Q: who", "so\nme"]]


@pytest.mark.parametrize("number", range(len(FORMS)))
def test_a_first_record_of_a_known_form_says_it_without_pairs(tmp_path: Path, number: int) -> None:
    expected = turns(tmp_path, [FORMS[number][0], *(record for record, _ in FORMS)])
    made = corpus(tmp_path, "qa.jsonl")
    assert [each.parts for each in made.documents()] == expected and made.selection.pairs


QA = {"prompt": "a", "completion": "b"}


@pytest.mark.parametrize(
    ("record", "values", "text"),
    [
        ({**QA, "text": "t"}, {}, "t"),
        ({**QA, "content": "t"}, {"text": "content"}, "t"),
        ({"prompt": "a", "answer": "b"}, {}, None),
        (QA, {"text": "content"}, None),
        (QA, {"mode": "stream", "max_bytes": 9}, None),
    ],
)
def test_what_has_its_text_or_was_to_have_one_is_no_pair(
    tmp_path: Path, record: dict[str, Any], values: dict[str, Any], text: str | None
) -> None:
    (tmp_path / "qa.jsonl").write_text(json.dumps(record))
    made = corpus(tmp_path, "qa.jsonl", **values)
    if text:
        assert [each.parts for each in made.documents()] == [[text]]
        return
    with pytest.raises(UserError, match=r"^qa.jsonl: record 1: has no field (text|content); it has prompt"):
        list(made.documents())


@pytest.mark.parametrize(
    ("name", "said"), [("a.txt", "qa.jsonl: record 1: has no field text"), ("z.txt", "no records")]
)
def test_the_first_file_decides_for_all(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "both").mkdir()
    (tmp_path / "both/qa.jsonl").write_text(json.dumps(QA))
    (tmp_path / "both" / name).write_text("plain text")
    with pytest.raises(UserError, match=said):
        list(corpus(tmp_path, "both").documents())


def test_other_files_than_json(tmp_path: Path) -> None:
    (tmp_path / "qa.csv").write_text("prompt;completion\na,b;c\n")
    pq.write_table(pa.table({"instruction": ["i"], "output": ["o"], "other": [1]}), tmp_path / "qa.parquet")
    (tmp_path / "talks.yml").write_text("categories: [a]\nconversations:\n- [Who?, 1963, 'Yes?', no]\n- alone\n")
    (tmp_path / "list.yml").write_text("- {prompt: p, completion: c}\n")
    for name, expected in [
        ("qa.csv", [["a,b", "c"]]), ("qa.parquet", [["i", "o"]]),
        ("talks.yml", [["Who?", "1963", "Yes?", "no"]]), ("list.yml", [["p", "c"]]),
    ]:  # fmt: skip
        form = "yaml" if name.endswith(".yml") else "auto"
        for says_so in (True, False):
            made = corpus(tmp_path, name, pairs=says_so, format=form)
            assert [each.parts for each in made.documents()] == expected
            assert made.selection.dropped.empty == (name == "talks.yml")
    for content, said in [("a: b", "neither a list of records"), ("- a", "record 1: is no mapping"), ("[", "no YAML")]:
        (tmp_path / "bad.yml").write_text(content)
        with pytest.raises(UserError, match=said):
            list(corpus(tmp_path, "bad.yml", pairs=True, format="yaml").documents())
    (tmp_path / "text.txt").write_text("a text")
    with pytest.raises(UserError, match=r"^text.txt: holds no records"):
        list(corpus(tmp_path, "text.txt", pairs=True).documents())


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"prompt": "a"}, "has no field completion; it has prompt"),
        ({"question": "a"}, "is no prompt with a response: it has question, and neither messages"),
        ({"prompt": 1, "completion": "c"}, "the field prompt is no text but int"),
        ({"messages": "a"}, "the field messages is no list but str"),
        ({"messages": [{"role": "user"}]}, "has no field messages.0.content"),
        ({"messages": ["a"]}, "messages.0 is no object"),
        ({"messages": TALK[2:]}, "user and assistant must take turns"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "user and assistant must take turns"),
        ({"prompt": "\udcff", "completion": "c"}, "half a character"),
    ],
)
def test_a_record_without_prompt_or_response_is_named(tmp_path: Path, record: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=rf"^qa.jsonl: record 2: .*{said}"):
        turns(tmp_path, [{"prompt": "a", "completion": "b"}, record])


def test_blank_responses_are_dropped_and_counted_or_refused(tmp_path: Path) -> None:
    records = [{"prompt": "a", "completion": " "}, {"messages": TALK[:2]}, {"prompt": "a", "completion": "b"}]
    assert turns(tmp_path, records) == [["a", "b"]]
    made = corpus(tmp_path, "qa.jsonl", pairs=True)
    list(made.documents())
    assert made.selection.dropped.empty == 2
    with pytest.raises(UserError, match=r"record 1: holds no response; leave it out"):
        turns(tmp_path, records, min_bytes=0)
    with pytest.raises(UserError, match=r"no document is left of it: its texts were 2 without a response$"):
        turns(tmp_path, records[:2])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"pairs": True, "prompt": "{a}"}, "prompt without response"),
        ({"pairs": True, "response": "{a}"}, "response without prompt"),
        ({"pairs": True, "prompt": "a", "response": "{a"}, "braces are doubled"),
        ({"prompt": "a", "response": "b"}, "data.pairs=true only"),
        ({"pairs": True, "mode": "stream", "max_bytes": 1}, "pairs need mode files"),
    ],
)
def test_templates_that_make_no_pair_are_refused_before_anything_runs(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        config(**values)


def test_the_digest_of_a_corpus_tells_where_turns_end(tmp_path: Path) -> None:
    forms: list[tuple[int, ...]] = [(), (1, 2), (2, 1)]
    written = [write_documents(tmp_path / "x", [document("abc", "t", form)], "").text_sha256 for form in forms]
    assert len(set(written)) == 3


def test_the_template_marks_each_turn_and_refuses_what_is_no_question() -> None:
    assert rendered(TEMPLATE, TALK, for_response=True) == ["", "Be brief.\n\nHi", "Hello", "Bye", ""]
    for wrong in ([], TALK[:3], TALK[:1]):
        with pytest.raises(UserError, match="the last message must be the user's"):
            rendered(TEMPLATE, wrong, for_response=True)
    endless = "{% for x in range(10**9) %}{% endfor %}"
    for evil in ("{{ messages.__class__.__mro__ }}", "{{ 1 / 0 }}", "{{ messages.append(1) }}", endless):
        with pytest.raises(UserError, match="the chat template refuses it"):
            rendered(evil, TALK)


def test_synths_questions_are_read_as_its_preset_says(tmp_path: Path) -> None:
    data = compose(["data=synth_chat"], REPOSITORY / "params.yaml")["data"]
    assert DataConfig.model_validate_json(json.dumps(data)).pairs
    row = {"query": "q", "synthetic_reasoning": "r", "synthetic_answer": "a", "language": "en", "words": 3}
    pq.write_table(pa.Table.from_pylist([row, {**row, "language": "fr"}]), tmp_path / "synth.parquet")
    wanted = {name: data[name] for name in ("pairs", "prompt", "response", "languages", "language_field")}
    (found,) = corpus(tmp_path, "synth.parquet", **wanted).documents()
    assert found.parts == ["q", "r\na"]
