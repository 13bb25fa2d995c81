"""Where a flow run works: the checkout, or with overrides a clone of it that shares its git objects and DVC cache."""

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import get_run_logger

from gptcore.errors import UserError
from gptcore.files import read_json
from gptcore.params import Paths
from gptcore.presets import STAGES, compose, flatten, write
from tasks.probe import Verdict, probe, record
from tasks.process import child_environment

# whatever the user's git configuration says, `git apply` must understand it
GIT_DIFF = ["git", "diff", "--binary", "--no-color", "--no-ext-diff", "--src-prefix=a/", "--dst-prefix=b/"]


class Workspace:
    """A folder with a dvc.yaml that one flow run has to itself, and DVC's present verdict on its stages."""

    def __init__(self, root: Path, checkout: Path) -> None:
        self.root, self.checkout, self.paths = root, checkout, Paths(root)
        self.lock_file = root / "dvc.lock"
        self.ran: list[str] = []
        self.refresh()

    def refresh(self) -> None:
        """Ask DVC again: a stage has run."""
        self.graph = probe(self.root)

    def record(self, stage: str) -> None:
        """Let DVC keep what `stage` has made."""
        record(self.root, stage)
        self.ran.append(stage)
        self.refresh()

    @property
    def verdicts(self) -> Mapping[str, Verdict]:
        return self.graph.verdicts

    def repro_command(self, stage: str) -> list[str]:
        """Waits for DVC's lock (it is taken anew after hours of training); leaves the recording to a later commit.

        With a remote, data that is missing here but unchanged comes from there.
        """
        pull = ["--pull"] if self.graph.has_remote else []
        return ["dvc", "--wait-for-lock", "repro", "--single-item", "--no-commit", *pull, stage]

    def metrics(self, stage: str) -> dict[str, Any]:
        """What the stage reported, `{"model": {"loss": 3}}` as `{"model.loss": 3}`."""
        return flatten(read_json(self.paths.of(stage) / "metrics.json"))

    def commit(self) -> str:
        """The git commit the run started from."""
        return _run(["git", "rev-parse", "HEAD"], self.root).strip()

    def save_experiment(self, flow_run: str) -> str | None:
        """Record params, metrics and dvc.lock as a DVC experiment of the checkout, under the flow run's name.

        Nothing in the workspace moves. None, and nothing done, when no stage of the checkout has run.
        """
        if self.root == self.checkout and not self.ran:
            return None
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", flow_run).strip("-")  # as git allows it in a reference
        _run(["dvc", "--wait-for-lock", "exp", "save", "--force", "--name", name], self.root)
        if self.root != self.checkout:
            _run(["dvc", "--wait-for-lock", "exp", "push", "--no-cache", "origin", name], self.root)
        return name


@contextmanager
def open_workspace(overrides: list[str], name: str) -> Iterator[Workspace]:
    """The current folder, or with overrides a clone of it, removed at the end and kept when the run fails.

    Raises UserError before anything is made when the folder is no checkout or an override is wrong.
    """
    checkout = Path.cwd()
    if not (checkout / "dvc.yaml").is_file():
        raise UserError(f"there is no dvc.yaml in {checkout}; run this in the repository's root folder")
    if not overrides:
        yield Workspace(checkout, checkout)
        return
    values = compose(overrides, Paths(checkout).params)
    root = Paths(checkout).scratch / "workspaces" / name
    try:
        _clone(checkout, root)
        _share_scratch(checkout, root, STAGES)
        write(values, Paths(root).params)
        yield Workspace(root, checkout)
    except BaseException:
        get_run_logger().warning(f"the workspace is kept: {root}")
        raise
    shutil.rmtree(root)


def _clone(checkout: Path, root: Path) -> None:
    if root.exists():  # of the same flow run, which is being retried
        shutil.rmtree(root)
    root.parent.mkdir(parents=True, exist_ok=True)
    _run(["git", "clone", "--quiet", "--shared", str(checkout), str(root)], checkout)
    edits = _run([*GIT_DIFF, "HEAD"], checkout)
    if edits:  # carried as edits, so that the experiment's parent stays the checkout's commit
        _run(["git", "apply", "--whitespace=nowarn"], root, edits)
    local = checkout / ".dvc" / "config.local"
    if local.exists():
        shutil.copy(local, root / ".dvc")
    _run(["dvc", "cache", "dir", "--local", str(probe(checkout).cache)], root)


def _share_scratch(checkout: Path, root: Path, stages: Iterable[str]) -> None:
    """A later run with the same overrides goes on from the checkpoints of this one; their folders bear its identity."""
    for stage in stages:
        shared = Paths(checkout).scratch / stage
        shared.mkdir(exist_ok=True)
        link = Paths(root).scratch / stage
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(shared)


def _run(command: list[str], folder: Path, given: str | None = None) -> str:
    done = subprocess.run(
        command, cwd=folder, env=child_environment(), input=given, capture_output=True,
        encoding="utf-8", errors="surrogateescape", check=False,
    )  # fmt: skip
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise UserError(f"`{' '.join(command)}` failed in {folder}: {said}")
    return done.stdout
