"""Tasks of params.yaml: named shortly, kept by the hash of what they ask."""

from pathlib import Path
from typing import Any

import pytest

from gptcore.config.presets import compose
from gptcore.errors import UserError
from gptcore.evaluation.benchmarks.chosen import chosen, opened
from gptcore.evaluation.config import TaskChoice
from tests.support.benchmarks import LAMBADA, QUESTION, write_rows
from tests.support.closure import ROOT


def test_a_name_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "my quiz.jsonl", [QUESTION, {**QUESTION, "gold": 1}])
    write_rows(tmp_path / "words.jsonl", [LAMBADA])
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    condition = "gate.conditions=[{metric:my_quiz.acc_norm,against:baseline,margin:0.0,confidence:0.95}]"
    values = compose(["evaluate.tasks=[{source:'my quiz.jsonl',limit:1},words.jsonl]", condition], Path("params.yaml"))
    quiz, words = values["evaluate"]["tasks"]
    assert (quiz["task"], quiz["output_type"], quiz["limit"]) == ("my_quiz", "multiple_choice", 1)
    assert (words["task"], words["output_type"], words["limit"]) == ("words", "loglikelihood", 0)
    assert len(opened(TaskChoice(**quiz)).items) == 1
    again = compose(["evaluate.tasks=[{source:'my quiz.jsonl',limit:1,task:q}]"], Path("params.yaml"))
    assert again["evaluate"]["tasks"] == [{**quiz, "task": "q"}]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{**QUESTION, "gold": 1}], "quiz.jsonl does not ask what it asked when quiz was chosen"),
        ([QUESTION, {**QUESTION, "choices": ["yes"]}], "quiz.jsonl, line 2: choices: List should have at least 2"),
        ([], "quiz.jsonl: there is no row in it"),
    ],
)
def test_another_question_is_one_line(rows: list[dict[str, Any]], said: str, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "quiz.jsonl", [QUESTION])
    task = TaskChoice(**{**chosen(str(path)), "source": "quiz.jsonl"})
    write_rows(path, [{**QUESTION, "ind": 7}])
    assert opened(task, tmp_path).items  # what is not asked may change
    write_rows(path, rows)
    with pytest.raises(UserError) as raised:
        opened(task, tmp_path)
    assert said in str(raised.value)


def test_only_what_may_be_read_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_rows(tmp_path / "quiz.jsonl", [QUESTION])
    monkeypatch.setenv("GPTCORE_DATA_ROOTS", "/nowhere")
    with pytest.raises(UserError, match=r"^evaluate.tasks: .*quiz.jsonl is not in GPTCORE_DATA_ROOTS"):
        chosen(str(path))
