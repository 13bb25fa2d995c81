"""Every command of README and docs is one that its program takes, as typed there."""

import argparse
import inspect
import re
import runpy
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
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
from gptcore.weights.pinned import Start
from tests.support.closure import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("*/*.md")])
FLOWS = {each.name: each for each in (train_gpt, sweep_gpt, refresh_data, rollback_gpt, rebuild_gpt, complete_prompts)}
FOREIGN = ("aws", "cd", "curl", "dask", "docker", "git", "kubectl", "ln", "pip", "vllm")  # programs that no test has
ASSIGNMENT = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)")


class Taken(Exception):
    """The program has read its command line, and would now start its work."""


def commands() -> Iterator[Any]:
    """The commands of all console blocks, no comments, continued lines joined; and those in the README's sentences."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"```(?:console|sh)\n(.*?)```", text, re.DOTALL)
        blocks += re.findall(r"`((?:make|gptcore|dvc|python) [^`]+)`", text) if page.name == "README.md" else []
        for block in blocks:
            for line in block.replace("\\\n", " ").splitlines():
                if words := shlex.split(line, comments=True):
                    yield pytest.param(words, id=f"{page.relative_to(ROOT)}: {' '.join(words)}")


@pytest.mark.parametrize("words", list(commands()))
def test_the_program_takes_it(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    while words and (assignment := ASSIGNMENT.fullmatch(words[0])):
        assert is_known(assignment[1])
        words = words[1:]
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
            compose(overrides, ROOT / "params.yaml")
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
