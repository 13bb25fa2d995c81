"""A scratch project: git and DVC as in the checkout, with stages that take no time."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tasks.process import child_environment

HERE = Path(__file__).parent
CHECKOUT = HERE.parent
STEPS_WORSE, STEPS, STEPS_BETTER = 5, 20, 50  # than the baseline; than it; than the model of 20 steps
FILES = ("params.yaml", ".dvcignore", ".dvc/config")
IGNORED = "/data/scratch\n/mlflow.db\n/mlartifacts\n/trouble-*\n/steps-*\n__pycache__\n"


def make(root: Path) -> Path:
    """A committed project in the new folder `root`, in which no stage has run."""
    root.mkdir(parents=True)
    run(root, "git", "init", "--quiet")
    run(root, "dvc", "init", "--quiet")
    for file in FILES:
        shutil.copy(CHECKOUT / file, root / file)
    shutil.copytree(CHECKOUT / "conf", root / "conf")
    shutil.copy(HERE / "scratch_stages.py", root / "stages.py")
    (root / "code.py").write_text("edited = False\n")
    (root / ".gitignore").write_text(IGNORED)
    _write_stages(root)
    set_param(root, "train", "steps", STEPS)
    run(root, "git", "config", "user.name", "test")
    run(root, "git", "config", "user.email", "test@example.org")
    run(root, "git", "add", "--all")
    run(root, "git", "commit", "--quiet", "--message", "start")
    return root


def _write_stages(root: Path) -> None:
    """The real dvc.yaml with little stages in place of the real ones, and code.py in place of the real code."""
    dvc = YAML().load(CHECKOUT / "dvc.yaml")
    for name, stage in dvc["stages"].items():
        stage["cmd"] = f"python stages.py {name}"
        stage["deps"] = ["code.py", *(path for path in stage["deps"] if path.startswith("data/"))]
    YAML().dump(dvc, root / "dvc.yaml")


def set_param(root: Path, section: str, field: str, value: Any) -> None:
    params = YAML().load(root / "params.yaml")
    params[section][field] = value
    YAML().dump(params, root / "params.yaml")


def run(root: Path, *command: str, check: bool = True) -> str:
    """What `command` prints, run in `root`; PYTHONPATH leads to this repository."""
    environment = {**child_environment(), "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert not check or done.returncode == 0, done.stdout
    return done.stdout


def flow(root: Path, *overrides: str, check: bool = True) -> str:
    """`python -m flows.train_gpt` in `root`, as a user runs it: what the terminal shows."""
    return run(root, sys.executable, "-m", "flows.train_gpt", *overrides, check=check)
