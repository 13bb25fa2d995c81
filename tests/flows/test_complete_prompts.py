"""A file of prompts becomes a file of texts, in parts that a second run does not make again."""

import json
from pathlib import Path
from typing import Any

import pytest
from pyarrow import Table, parquet

from flows.complete_prompts import complete_prompts
from gptcore.errors import UserError
from gptcore.generation import batch
from gptcore.generation.batch import Batch
from gptcore.generation.complete import Wish
from gptcore.generation.sampling import Sampling
from gptcore.model.folder import save_export
from tests.support.serving import served

PROMPTS = ["To be", "", "or not", "é", "that is"]
ASKED: dict[str, Any] = {"model": "model", "max_new_tokens": 6, "n": 2, "sampling": {"seed": 3}, "rows": 2}


class Killed(BaseException):
    pass


@pytest.fixture
def folder(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    model = served(1)
    save_export(tmp_path / "model", model.gpt, model.tokenizer)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_goes_on_where_another_was_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every form of prompts gives the same texts; another seed has parts of its own."""
    (folder / "a.txt").write_text("\n".join(PROMPTS) + "\n")
    (folder / "a.jsonl").write_text("".join(json.dumps({"id": 1, "prompt": each}) + "\n" for each in PROMPTS))
    parquet.write_table(Table.from_pylist([{"prompt": each} for each in PROMPTS]), folder / "a.parquet")
    calls, complete = [], batch.complete

    def counted(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise Killed
        return complete(*given)

    monkeypatch.setattr(batch, "complete", counted)
    with pytest.raises(Killed):
        complete_prompts("a.txt", "out.jsonl", **ASKED)
    assert not (folder / "out.jsonl").exists()
    assert complete_prompts("a.txt", "out.jsonl", **ASKED).startswith("10 texts of model are in out.jsonl")
    assert len(calls) == 4
    texts = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert [(each["prompt"], each["choice"]) for each in texts] == [(each, n) for each in PROMPTS for n in (0, 1)]
    complete_prompts("a.jsonl", "out.parquet", **ASKED)
    assert parquet.read_table(folder / "out.parquet").to_pylist() == texts
    complete_prompts("a.parquet", "out.jsonl", **{**ASKED, "sampling": {"seed": 4}})
    others = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert [each["text"] for each in others] != [each["text"] for each in texts]
    monkeypatch.setattr("flows.complete_prompts.is_deployed", lambda: True)
    (folder / "link.txt").symlink_to("/etc/hostname")
    for source, target in (("a.txt", str(folder.parent / "out.jsonl")), ("link.txt", "out.jsonl")):
        with pytest.raises(UserError, match="where runs of a deployment work"):
            complete_prompts(source, target, **ASKED)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "a.csv is none of .txt, .jsonl, .parquet"),
        ("a.txt", b"a\n\xff\n", "a.txt, line 2, is not UTF-8"),
        ("a.jsonl", b'{"prompt": "a"}\n{"prompt": 1}\n', "a.jsonl, record 2: prompt is no text"),
        ("a.jsonl", None, "there is no file"),
    ],
)
def test_wrong_prompts_are_one_line(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        list(Batch(tmp_path / name, tmp_path / "out.jsonl", "a", Wish(1, Sampling())).parts())
