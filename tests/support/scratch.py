"""A scratch project: git, DVC and presets as in the checkout, with instant stages (scratch_stages.py)."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ruamel.yaml import YAML

from tasks.process.group import child_environment
from tests.support.patience import PATIENCE

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
STEPS_WORSE, STEPS, STEPS_BETTER = 5, 20, 50  # worse than the baseline; better than it; better than 20 steps
STEPS_FAIL = 13
FILES = ("params.yaml", ".dvcignore", ".dvc/config")
IGNORED = "/data/*\n/mlflow.db\n/mlartifacts\n/trouble-*\n/steps-*\n__pycache__\n"


def make(root: Path) -> Path:
    """A committed project in the new folder `root`, in which no stage has run."""
    root.mkdir(parents=True)
    run(root, "git", "init", "--quiet")
    dvc(root, "init")
    for file in FILES:
        shutil.copy(CHECKOUT / file, root / file)
    shutil.copytree(CHECKOUT / "conf", root / "conf")
    shutil.copy(HERE / "scratch_stages.py", root / "stages.py")
    (root / "code.py").write_text("edited = False\n")
    (root / ".gitignore").write_text(IGNORED)
    _write_stages(root)
    set_steps(root, STEPS)
    commit(root)
    return root


def _write_stages(root: Path) -> None:
    """Write the real dvc.yaml with the scratch stages in place of the real ones, and code.py in place of the code."""
    dvc = YAML().load(CHECKOUT / "dvc.yaml")
    for name, stage in dvc["stages"].items():
        stage["cmd"] = f"python stages.py {name}"
        stage["deps"] = ["code.py", *(path for path in stage["deps"] if path.startswith("data/"))]
    YAML().dump(dvc, root / "dvc.yaml")


def set_steps(root: Path, steps: int) -> None:
    """Change train.steps in params.yaml: more steps give the scratch model fewer bits per byte."""
    set_param(root, "train", "steps", steps)


def set_param(root: Path, section: str, field: str, value: Any) -> None:
    params = YAML().load(root / "params.yaml")
    params[section][field] = value
    YAML().dump(params, root / "params.yaml")


def commit(root: Path) -> None:
    run(root, "git", "add", "--all")
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    run(root, "git", *identity, "commit", "--quiet", "--message", "a commit")


def run(root: Path, *command: str, code: int = 0) -> str:
    """Run `command` in `root` and return its output; it must exit with `code`."""
    done = start(root, *command)
    output, _ = done.communicate()
    assert done.returncode == code, output
    return output


def dvc(root: Path, *words: str) -> None:
    """`dvc WORDS` in `root`, in this process, which saves its imports; it says nothing."""
    from dvc.cli import main

    with chdir(root), patch.dict(os.environ, {**child_environment(), "PYTHONPATH": str(CHECKOUT)}):
        assert main([*words, "--quiet"]) == 0


def start(root: Path, *command: str) -> "subprocess.Popen[str]":
    """Start `command` in `root` in a new process group, with this checkout on PYTHONPATH."""
    environment = {**child_environment(), "PYTHONPATH": str(CHECKOUT)}
    return subprocess.Popen(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip


def flow_command(*overrides: str) -> list[str]:
    return [sys.executable, "-m", "flows.train_gpt", *overrides]


def steps_taken(root: Path) -> list[int]:
    """The steps that the scratch stage `train` actually took, over all its runs."""
    log = root / "steps-train"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def wait_until(true: Callable[[], bool], seconds: float = PATIENCE) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "it never came true"
        time.sleep(0.05)


def processes_in(root: Path) -> list[str]:
    """The command lines of all running processes whose working directory is in `root`, except this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.name != str(os.getpid()) and (process / "cwd").readlink().is_relative_to(root):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it has exited, or belongs to another user
    return found
