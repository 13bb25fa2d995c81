"""Every command of README and docs is one that its program takes, and is run by a test or says what it needs."""

import argparse
import inspect
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
from dvc.cli import main as dvc_main
from dvc.cli.parser import get_main_parser
from prefect.settings.legacy import _get_settings_fields
from prefect.settings.models.root import Settings

from flows.complete_prompts import complete_prompts
from flows.rebuild_gpt import rebuild_gpt
from flows.refresh_data import refresh_data
from flows.rollback_gpt import rollback_gpt
from flows.sweep.sweep_gpt import sweep_gpt
from flows.train_gpt import train_gpt
from gptcore.config.environment import VARIABLES
from gptcore.config.params import read_params
from gptcore.config.presets import compose
from gptcore.model.config import ModelConfig
from gptcore.registry.pages import packed
from gptcore.registry.tracking import MODEL, opened_in
from gptcore.weights.pinned import Start
from tasks.workspace.clone import git
from tests.support import scratch
from tests.support.closure import ROOT
from tests.support.command import run_command
from tests.support.documented import BY, HERE, NEEDS, answers, commands, is_there, without_settings

FLOWS = {each.name: each for each in (train_gpt, sweep_gpt, refresh_data, rollback_gpt, rebuild_gpt, complete_prompts)}
# programs that no test has
FOREIGN = ("cd", "curl", "dask", "docker", "git", "kubectl", "lm_eval", "ln", "pip", "sed", "vllm")


class Taken(Exception):
    """The program has read its command line, and would now start its work."""


COMMANDS = [  # each once, though several pages may have it
    pytest.param([*words], id=f"{page}: {' '.join(words)}")
    for words, page in {tuple(words): page for page, words in commands()}.items()
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of the test, with presets and a params.yaml of its own."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("words", COMMANDS)
def test_the_program_takes_it(words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, words = words[: -len(without_settings(words)) or None], without_settings(words)
    assert all(is_known(each.partition("=")[0]) for each in settings)
    # no model and no task that a page names is here
    monkeypatch.setattr("gptcore.weights.pinned.pinned", lambda source: (source, ""))
    monkeypatch.setattr("gptcore.weights.start.pinned_start", a_start)
    monkeypatch.setattr("gptcore.evaluation.benchmarks.chosen.chosen", a_task)
    match words:
        case ["export", *assignments]:
            assert all(is_known(each.partition("=")[0]) for each in assignments)
        case ["make", *targets]:
            assert subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True).returncode == 0
        case ["gptcore", "configure", *overrides] if "--help" not in overrides:
            assert run_command(monkeypatch, "configure", *overrides) == 0
            compose([], folder / "params.yaml")
        case ["gptcore", *rest]:
            take(monkeypatch, "gptcore", rest)
        case ["python", "-m", "flows.train_gpt", *overrides]:
            compose(overrides, ROOT / "params.yaml")
        case ["python", "-m", module, *rest]:
            take(monkeypatch, module, rest)
        case ["python", script, *rest] if (ROOT / script).exists():
            take(monkeypatch, str(ROOT / script), rest)
        case ["torchrun", *rest]:
            take(monkeypatch, rest[rest.index("-m") + 1], [])
        case ["dvc", *rest]:
            get_main_parser().parse_args(rest)
        case ["prefect", "deployment", "run", *rest]:
            check_deployment_run(*rest)
        case ["prefect", *rest]:
            prefect_takes(rest)
        case ["mlflow", *rest]:
            mlflow_takes(rest)
        case ["python", "train.py", *_]:
            pass  # nanoGPT's own
        case [program, *_]:
            assert program in FOREIGN, f"no test knows {program}"


def test_each_is_run_or_says_what_it_needs() -> None:
    """`export` alone sets what other commands read."""
    rests = [without_settings(words) for _, words in commands()]
    written = {shlex.join(words) for words in rests if words[:1] not in ([], ["export"])}
    assert {each: found for each in written if len(found := answers(shlex.split(each))) != 1} == {}
    assert [each for each in HERE if each not in written] == []
    patterns = [*BY, *NEEDS]
    assert [each for each in patterns if not any(re.fullmatch(each, text) for text in written)] == []
    assert [test for test in BY.values() if not is_there(test)] == []


def test_they_do_what_they_say_where_a_flow_has_run(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened_in(finished) as registry:
        (first, _), *_ = registry.versions()
        names = ("dvc_experiment", "flow_run_name", "flow_run_id")
        tags = packed({name: value for name, value in first.tags.items() if name not in names})
        for _ in range(2):  # the same model again, as versions 2 and 3
            registry.client.create_model_version(MODEL, registry.address(1), run_id=first.run_id, tags=tags)
        registry.moves.move("champion", 2, "so that there is one before")
    # as in an activated environment: DVC looks for a stage's `python` there
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for command in HERE:
        program, *words = shlex.split(command.replace("gentle-phoenix", first.tags["dvc_experiment"]))
        match program:
            case "gptcore":
                assert run_command(monkeypatch, *words) == 0, command
            case "dvc":
                assert dvc_main(words) == 0, command
            case _:
                scratch.run(finished, program, *words)
    assert git(["log", "--format=%s", "-1"], finished) == "A remote"


def a_start(source: str, presets: Mapping[str, Any]) -> Start:
    return Start(source, "", ModelConfig(**presets["model"]), None)


def a_task(given: Any) -> dict[str, Any]:
    source = given if isinstance(given, str) else given["source"]
    task = {"task": Path(source).stem, "source": source, "output_type": "loglikelihood"}
    return {**task, "limit": 0, "sha256": "0" * 64}


def is_known(name: str) -> bool:
    of_others = ("MLFLOW_", "PREFECT_INTEGRATIONS_KUBERNETES_")  # the second's package is on a Kubernetes worker alone
    of_compose = re.findall(r"\$\{([A-Z_0-9]+)", (ROOT / "deployments/compose.yaml").read_text(encoding="utf-8"))
    return name in {*VARIABLES, *_get_settings_fields(Settings), *of_compose} or name.startswith(of_others)


def take(monkeypatch: pytest.MonkeyPatch, program: str, words: list[str]) -> None:
    """Start the program's module or script; it must get past its command line."""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        parse(parser, words)
        raise Taken

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    module = f"{program}.__main__" if hasattr(sys.modules.get(program), "__path__") else program
    monkeypatch.delitem(sys.modules, module, raising=False)  # it is not imported yet where it is started
    with pytest.raises(SystemExit if "--help" in words else Taken) as ended:
        if program.endswith(".py"):
            monkeypatch.syspath_prepend(Path(program).parent)  # as Python does
            runpy.run_path(program, run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__")
    assert getattr(ended.value, "code", 0) == 0


def check_deployment_run(name: str, *options: str) -> None:
    """The deployment is one of prefect.yaml, and its flow has the parameters."""
    prefect_takes(["deployment", "run", name, *options])
    deployments = read_params(ROOT / "deployments/prefect.yaml")["deployments"]
    flow_name, _, deployment = name.partition("/")
    function = FLOWS[flow_name].fn
    entrypoint = f"{function.__module__}.{function.__name__}"
    assert (deployment, entrypoint) in [(each["name"], each["entrypoint"]) for each in deployments]
    given = [options[number + 1] for number, each in enumerate(options) if each == "--param"]
    assert {each.partition("=")[0] for each in given} <= set(inspect.signature(function).parameters)


def prefect_takes(words: list[str]) -> None:
    from prefect.cli._app import _app

    _app.parse_args(words, exit_on_error=False, print_error=False)


def mlflow_takes(words: list[str]) -> None:
    from mlflow.cli import cli

    command: Any = cli
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    command.make_context(words[0] if words else "", list(words))
