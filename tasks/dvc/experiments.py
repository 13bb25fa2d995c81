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

METRICS = "data/evaluation/metrics.json"
RANKING = f"{METRICS}:model.bits_per_byte"  # as `dvc exp show --sort-by` takes it


@dataclass(frozen=True)
class Experiment:
    """A run's name, its parameters, the files it was made from (path -> hash) and its evaluation; all flat."""

    name: str
    params: dict[str, Any]
    inputs: dict[str, str]
    metrics: dict[str, Any]


def find(wanted: list[dict[str, Any]], checkout: Path) -> list[Experiment | None]:
    """For each set of (flat) parameters, an experiment with those parameters and the checkout's present code.

    Only evaluated experiments of the current commit count. Raises UserError.
    """
    verdicts = probe(checkout).values()
    code = {path: value for each in verdicts for path, value in each.inputs.items() if path != "params.yaml"}
    candidates = [each for each in experiments(checkout) if code.items() <= each.inputs.items()]
    return [next((each for each in candidates if each.params == params), None) for params in wanted]


def experiments(checkout: Path) -> list[Experiment]:
    """The evaluated experiments of the current commit. Raises UserError."""
    command = ["dvc", "exp", "show", "--json"]
    done = subprocess.run(command, cwd=checkout, env=child_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"`{' '.join(command)}` failed in {checkout}: {' '.join(done.stderr.split())}")
    shown = [each for commit in json.loads(done.stdout) for each in commit.get("experiments") or []]
    found = [(each["name"], each["revs"][0].get("data") or {}) for each in shown]
    return [_experiment(name, data) for name, data in found if METRICS in (data.get("metrics") or {})]


def _experiment(name: str, data: dict[str, Any]) -> Experiment:
    params = flatten(data["params"]["params.yaml"]["data"])
    inputs = {path: str(each["hash"]) for path, each in data["deps"].items()}
    return Experiment(name, params, inputs, flatten(data["metrics"][METRICS]["data"]))
