"""Earlier runs, as DVC experiments of the current commit."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptcore.config.presets import flatten
from gptcore.errors import UserError
from tasks.dvc.probe import probe
from tasks.process.group import child_environment
from tasks.workspace.clone import git

METRICS = "data/evaluation/metrics.json"


@dataclass(frozen=True)
class Experiment:
    """A run's name, its parameters, its evaluation, and path -> hash of what it was made from and has made; flat."""

    name: str
    params: dict[str, Any]
    inputs: dict[str, str]
    metrics: dict[str, Any]
    outputs: dict[str, str]


def find(wanted: list[dict[str, Any]], checkout: Path) -> list[Experiment | None]:
    """For each set of (flat) parameters, an experiment with those parameters and the checkout's present code.

    Only evaluated experiments of the current commit count. Raises UserError.
    """
    verdicts = probe(checkout).values()
    code = {path: value for each in verdicts for path, value in each.inputs.items() if path != "params.yaml"}
    candidates = [each for each in experiments(checkout) if code.items() <= each.inputs.items()]
    return [next((each for each in candidates if each.params == params), None) for params in wanted]


def experiments(checkout: Path, every_commit: bool = False) -> list[Experiment]:
    """The evaluated experiments of the current commit, or of every commit. Raises UserError."""
    command = ["dvc", "exp", "show", "--json"]
    if every_commit:
        command += [word for commit in _parents(checkout) for word in ("--rev", commit)]
    done = subprocess.run(command, cwd=checkout, env=child_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"`{' '.join(command)}` failed in {checkout}: {' '.join(done.stderr.split())}")
    shown = [each for commit in json.loads(done.stdout) for each in commit.get("experiments") or []]
    found = [(each["name"], each["revs"][0].get("data") or {}) for each in shown]
    return [_experiment(name, data) for name, data in found if METRICS in (data.get("metrics") or {})]


def _experiment(name: str, data: dict[str, Any]) -> Experiment:
    params = flatten(data["params"]["params.yaml"]["data"])
    inputs = {path: str(each["hash"]) for path, each in data["deps"].items()}
    outputs = {path: str(each["hash"]) for path, each in data["outs"].items()}
    return Experiment(name, params, inputs, flatten(data["metrics"][METRICS]["data"]), outputs)


def _parents(checkout: Path) -> list[str]:
    """The commits that have experiments: a reference of one is refs/exps/<2 digits>/<38 digits>/<name>."""
    found = git(["for-each-ref", "--format=%(refname)", "refs/exps"], checkout).splitlines()
    return list(dict.fromkeys("".join(ref.split("/")[2:4]) for ref in found if len(ref.split("/")) == 5))
