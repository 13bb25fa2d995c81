"""A registered model is complete: it can be loaded and served where neither this checkout nor its path exists."""

import ast
import json
import re
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.requirements import Requirement

from gptcore.commands import registry as command
from gptcore.errors import UserError
from gptcore.evaluation.asked import Asked
from gptcore.evaluation.benchmarks.chosen import chosen
from gptcore.evaluation.config import EvaluateConfig
from gptcore.evaluation.measure import measure
from gptcore.evaluation.measured import Measured
from gptcore.files import sha256_file, write_json
from gptcore.model.config import ModelConfig
from gptcore.model.folder import load_export, save_export
from gptcore.model.gpt import GPT
from gptcore.registry.pack import OF_TOKENIZERS, REQUIREMENTS, copy_code, requirements
from gptcore.registry.tracking import asked_file, measured_file, opened, opened_in
from gptcore.tokens.make_tokenizer import byte_tokenizer
from gptcore.tokens.token_files import read_meta
from gptcore.weights.open_model import open_model
from tests.support import served
from tests.support.benchmarks import QUESTION, write_rows
from tests.support.engine import GPT2
from tests.tokens.test_token_files import TEXTS, write

GOOD: dict[str, Any] = {"n_tokens": 5, "temperature": 0}
WRONG = [
    ("a", {"temperature": -1}, "temperature must be 0 or a number from 0.001 to 1,000; it is -1"),
    ("a", {"temperature": float("nan")}, "temperature must be 0 or a number from 0.001 to 1,000; it is nan"),
    ("a", {"temperature": None}, "it is null"),
    ("a", {"temperature": 1e-46}, "it is 1e-46"),
    ("a", {"top_k": -1}, "top_k must be a number from 0 to 2,147,483,647; it is -1"),
    ("a", {"seed": 2**63}, "seed must be a number from -9,223,372,036,854,775,808 to 9,223,372,036,854,775,807"),
    ("a", {"n_tokens": 10**9}, "n_tokens must be a number from 0 to 100,000; it is 1000000000"),
    ("a", {"temprature": 1.0}, "there is no parameter temprature; there are n_tokens, temperature, top_k, seed"),
    ("a\ud800", {}, "prompt 1 is no text: character 2 is U+D800"),
]


@pytest.fixture(scope="module")
def moved(mlflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an embedded registry and a champion, moved to another place after it was registered."""
    root = tmp_path_factory.mktemp("before") / "checkout"
    root.mkdir()
    shutil.copy(mlflow_database, root)
    torch.manual_seed(0)
    save_export(root / "export", GPT(ModelConfig(**GPT2), 257), byte_tokenizer())
    with opened(f"sqlite:///{root}/mlflow.db", root / "mlartifacts") as registry:
        made = registry.register("a run", root / "export", {"model_sha256": "a"}, {}, {}, [])
        registry.moves.move("champion", made.number, "the first")
    return root.rename(tmp_path_factory.mktemp("after") / "checkout")


def test_moved_checkout_keeps_its_registry(moved: Path) -> None:
    with opened(f"sqlite:///{moved}/mlflow.db", moved / "mlartifacts") as registry:
        assert registry.is_there(1, moved / "export")
        assert registry.address(1).startswith((moved / "mlartifacts").as_uri())
        again = registry.register("a run", moved / "export", {"model_sha256": "a"}, {}, {}, [])
        assert registry.find("a") == again
        assert registry.is_there(again.number, moved / "export")
        shutil.rmtree(moved / "mlartifacts/models" / Path(registry.address(again.number)).parts[-2])
        assert not registry.is_there(again.number, moved / "export")


def test_a_version_is_opened_by_name(moved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first test deletes the files of another version of the same weights."""
    monkeypatch.chdir(moved)
    here, _ = load_export(moved / "export")
    for name in ("gpt@champion", "gpt@1", "models:/gpt/1"):
        model, tokenizer = open_model(name)
        assert torch.equal(model.wte.weight, here.wte.weight) and tokenizer == byte_tokenizer()
    with pytest.raises(UserError, match="nobody is no version, alias"):
        open_model("gpt@nobody")


def test_champion_is_loaded_and_served_where_gptcore_is_not(moved: Path, tmp_path: Path) -> None:
    with opened(f"sqlite:///{moved}/mlflow.db", moved / "mlartifacts"):
        requests = json.dumps([("a", GOOD), *((prompt, params) for prompt, params, _ in WRONG)])
    site = str(Path(torch.__file__).parents[1])
    command = [sys.executable, "-I", "-S", str(served.__file__), site, str(moved / "mlflow.db"), requests]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["code"].startswith(str(moved / "mlartifacts"))
    assert {name.split(".")[0] for name in found["modules"]} == {"gptcore"}
    (good, *wrong) = found["answers"]
    assert good[0].startswith("a") and len(good[0]) > 1
    assert good[1:] == [200, {"predictions": [good[0]]}]
    for (_, _, expected), (said, status, answer) in zip(WRONG, wrong, strict=True):
        assert expected in said and "\n" not in said
        assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
        assert expected in answer["message"] and "stack_trace" not in answer


def test_requirements_are_what_the_code_imports_in_versions_that_an_index_has(moved: Path, tmp_path: Path) -> None:
    imported = {name for file in copy_code(tmp_path).rglob("*.py") for name in imports(file)} - sys.stdlib_module_names
    # ruamel reads params.yaml, the fast encoder whole corpora, jinja2 chat templates, and triton is of GPUs: serving by
    # MLflow does none of it
    not_needed = {"gptcore", "ruamel", "gigatoken", "psutil", "jinja2", "triton"}
    assert imported - not_needed == {*REQUIREMENTS, *OF_TOKENIZERS.values(), "mlflow"}
    (tmp_path / "tokenizer.json").write_text('{"kind": "huggingface"}')
    assert {Requirement(line).name for line in requirements(tmp_path)} == {*REQUIREMENTS, "tokenizers"}
    lines = next((moved / "mlartifacts").rglob("requirements.txt")).read_text().splitlines()
    assert {Requirement(line).name for line in lines} == {*REQUIREMENTS, "mlflow"}
    assert not [line for line in lines if "+" in line]


def imports(file: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


def test_version_is_measured_on_the_text_of_a_checkout(
    moved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless its weights are not those that were registered."""
    write(moved / "data/tokens", byte_tokenizer(), TEXTS)
    quiz = chosen(str(write_rows(moved / "quiz.jsonl", [QUESTION] * 3)))
    write_json(moved / "params.yaml", {"evaluate": {"block_size": 16, "stride": 16, "tasks": [quiz]}})
    monkeypatch.chdir(moved)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{moved}/mlflow.db")
    with pytest.raises(UserError, match=r"^model.safetensors of gpt version 1 is damaged"):
        command.run(Namespace(action="measure", version=1))
    with opened_in(moved) as found:
        found.tag(1, {"model_sha256": sha256_file(moved / "export/model.safetensors")})
    command.run(Namespace(action="measure", version=1))
    assert re.search(r"^gpt version 1: \d[.]\d{4} bits per byte$", capsys.readouterr().out, re.MULTILINE)
    with opened_in(moved) as found:
        file = measured_file(read_meta(moved / "data/tokens").val.text_sha256)
        kept = found.noted(found.version(1), file)
        answers = found.noted(found.version(1), asked_file(quiz["sha256"]))
    config = EvaluateConfig(block_size=16, stride=16, tasks=())
    assert kept == json.dumps(measure(moved / "data/tokens", moved / "export", config).model_dump())
    assert answers and len(Asked.model_validate_json(answers).metrics["acc"].model) == 3
    with opened_in(moved) as found:  # what is known stays: of a version's own text, its baseline too
        before = Measured.model_validate_json(kept)
        known = before.model_copy(update={"baseline": before.model})
        found.note(found.version(1), file, known.model_dump_json())
    command.run(Namespace(action="measure", version=1))
    with opened_in(moved) as found:
        assert Measured.model_validate_json(found.noted(found.version(1), file) or "") == known
