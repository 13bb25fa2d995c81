"""Rows of the hub, from a stand-in on loopback that has the data sets in their published form."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from gptcore.config.params import read_params
from gptcore.errors import Unavailable
from gptcore.evaluation.benchmarks.rows import pinned
from gptcore.model.folder import save_export
from gptcore.tokens.make_tokenizer import byte_tokenizer
from tests.support.benchmarks import benchmarks_in
from tests.support.closure import ROOT
from tests.support.engine import GPT2
from tests.support.forked import Forked
from tests.support.hub import COMMIT, Hub, asks, serve_hub
from tests.support.patience import PATIENCE
from tests.support.weights import random_model

PUBLISHED = {  # of the hub: task, configuration, split and file
    "Rowan/hellaswag": ("hellaswag", "default", "validation", "data/validation-00000-of-00001.parquet"),
    "EleutherAI/lambada_openai": ("lambada", "default", "test", "default/test/0000.parquet"),
    "EleutherAI/wikitext_document_level": (
        "wikitext", "wikitext-2-raw-v1", "test", "wikitext-2-raw-v1/wikitext-2-raw-v1-test.parquet",
    ),
}  # fmt: skip
CARD = "---\nconfigs:\n- config_name: {}\n  data_files:\n  - split: {}\n    path: {}\n---\n"
TASKS = "hellaswag,lambada,wikitext"
COMMANDS = {
    f"evaluate model --tasks {TASKS} --output hub": "",
    f"evaluate model --tasks {TASKS} --output files --data rows": "",
    "configure 'evaluate.tasks=[{source:lambada,limit:3}]'": "",
    "evaluate model --tasks hf://owner/none": "hf://owner/none: the hub has no such data set, or it is private",
    "evaluate model --tasks hf://owner/torn?split=test": "hf://owner/torn, row 2 of test: text: Input should be a",
    "evaluate model --tasks hf://owner/script": "hf://owner/script: Dataset scripts are no longer supported",
}


def publish(folder: Path, rows: list[dict[str, Any]], config: str, split: str, file: str) -> Path:
    (folder / file).parent.mkdir(parents=True)
    (folder / "README.md").write_text(CARD.format(config, split, file))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / file)
    return folder


def test_the_hub_has_what_a_folder_has(tmp_path: Path) -> None:
    save_export(tmp_path / "model", random_model(GPT2, block_size=48), byte_tokenizer())
    (tmp_path / "rows").mkdir()
    benchmarks_in(tmp_path / "rows", n=6)
    served = {}
    for name, (task, *where) in PUBLISHED.items():
        lines = (tmp_path / f"rows/{task}.jsonl").read_text().splitlines()
        rows = [{**row, **({"label": str(row["label"])} if "label" in row else {})} for row in map(json.loads, lines)]
        served[name] = publish(tmp_path / name, rows, *where)
    torn = [{"text": "to be"}, {"text": None}]
    served["owner/torn"] = publish(tmp_path / "torn", torn, "default", "test", "a.parquet")
    (tmp_path / "script").mkdir()
    (tmp_path / "script/script.py").write_text("import datasets")
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    with serve_hub(Hub({**served, "owner/script": tmp_path / "script"}, COMMIT)) as hub:
        theirs = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home")}
        output, _ = Forked("tests.support.command", tmp_path, {**os.environ, **theirs}, *COMMANDS).communicate(PATIENCE)
    assert "Traceback" not in output
    told = [line for line in output.splitlines() if line.startswith(("exit", "error"))]
    expected = [line for said in COMMANDS.values() for line in ([f"error: {said}", "exit 2"] if said else ["exit 0"])]
    assert len(told) == len(expected), output
    assert all(line.startswith(begin) for line, begin in zip(told, expected, strict=True)), told

    ours, files = (json.loads((tmp_path / folder / "results.json").read_text()) for folder in ("hub", "files"))
    assert ours["results"] == files["results"] and ours["n-samples"] == files["n-samples"]
    source = f"hf://EleutherAI/lambada_openai/default?split=test&revision={COMMIT}"
    assert ours["configs"]["lambada_openai"]["dataset_path"] == source
    (task,) = read_params(tmp_path / "params.yaml")["evaluate"]["tasks"]
    assert (task["task"], task["source"], task["limit"]) == ("lambada", source, 3)


def test_without_the_hub_it_is_worth_another_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asks("http://127.0.0.1:9", tmp_path, monkeypatch)
    with pytest.raises(Unavailable, match=r"^hf://Rowan/hellaswag cannot be read: .*try again"):
        pinned("hf://Rowan/hellaswag?split=validation")
