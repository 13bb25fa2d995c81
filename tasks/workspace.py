"""Where a flow run works: the checkout, or a clone of it that shares its git objects and DVC cache."""

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.runtime import flow_run

from gptcore.errors import UserError
from gptcore.files import read_json
from gptcore.params import Paths
from gptcore.presets import STAGES, compose, flatten, write
from gptcore.settings import settings
from gptcore.workspaces import hold, sign
from tasks.probe import Graph, Verdict, cache_folder, probe, record, restore, save_experiment, share_cache
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
        self.graph: Graph = probe(self.root)

    def record(self, stage: str) -> None:
        """Let DVC keep what `stage` has made."""
        self.graph = record(self.root, stage)
        self.ran.append(stage)

    def restore(self, stage: str) -> bool:
        """Take the stage's outputs from DVC's cache, or from its remote if there is one; False if it has to run."""
        graph = restore(self.root, stage)
        self.graph = graph or self.graph
        return graph is not None

    @property
    def verdicts(self) -> Mapping[str, Verdict]:
        return self.graph.verdicts

    @property
    def has_remote(self) -> bool:
        return self.graph.has_remote

    def repro_command(self, stage: str) -> list[str]:
        """Waits for DVC's lock (it is taken anew after hours of training); leaves the recording to a later commit.

        The run-cache was asked before.
        """
        return ["dvc", "--wait-for-lock", "repro", "--single-item", "--no-commit", stage]

    def metrics(self, stage: str) -> dict[str, Any]:
        """What the stage reported, `{"model": {"loss": 3}}` as `{"model.loss": 3}`."""
        return flatten(read_json(self.paths.of(stage) / "metrics.json"))

    def commit(self) -> str:
        """The git commit the run started from."""
        return _run(["git", "rev-parse", "HEAD"], self.root).strip()

    def save_experiment(self, flow_run_name: str) -> str | None:
        """Record params, metrics and dvc.lock as a DVC experiment under the flow run's name, and return that.

        Nothing in the workspace moves. A clone hands it on to the repository that it was made from. None, and nothing
        done, when no stage of the checkout has run.
        """
        if self.root == self.checkout and not self.ran:
            return None
        name = plain_name(flow_run_name)
        save_experiment(self.root, name, push_to=None if self.root == self.checkout else "origin")
        return name


def plain_name(flow_run_name: str) -> str:
    """As git allows it in a reference, and a folder as its name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", flow_run_name).strip("-")


@contextmanager
def open_workspace(overrides: list[str], is_apart: bool) -> Iterator[Workspace]:
    """The current folder; with overrides or `is_apart` a clone of it, removed at the end and kept when the run fails.

    Raises UserError before anything is made when the folder is no checkout or an override is wrong.
    """
    checkout = Path.cwd()
    if not (checkout / "dvc.yaml").is_file():
        raise UserError(f"there is no dvc.yaml in {checkout}; run this in the repository's root folder")
    if not overrides and not is_apart:
        yield Workspace(checkout, checkout)
        return
    values = compose(overrides, Paths(checkout).params) if overrides else None
    with hold(checkout, plain_name(flow_run.name)) as root:
        try:
            _clone(checkout, root)
            sign(root, flow_run.id)
            if values:
                write(values, Paths(root).params)
            yield Workspace(root, checkout)
        except BaseException:
            get_run_logger().warning(f"the workspace is kept: {root}")
            raise


def _clone(checkout: Path, root: Path) -> None:
    """The checkout as it is: its commit, its uncommitted edits as edits, dvc.lock, DVC's cache, the resume states."""
    _run(["git", "clone", "--quiet", "--shared", str(checkout), str(root)], checkout)
    if settings().repository:
        _run(["git", "remote", "set-url", "origin", settings().repository], root)
    edits = _run([*GIT_DIFF, "HEAD"], checkout)
    if edits:  # not as a commit, so that the experiment's parent stays the checkout's commit
        _run(["git", "apply", "--whitespace=nowarn"], root, edits)
    _say_what_travels(checkout)
    for file in ("dvc.lock", ".dvc/config.local"):
        if (checkout / file).exists():
            shutil.copy(checkout / file, root / file)
    share_cache(root, cache_folder(checkout))
    _share_scratch(checkout, root, STAGES)


def _say_what_travels(checkout: Path) -> None:
    edited = _run(["git", "diff", "--name-only", "HEAD"], checkout).split("\n")
    if carried := [file for file in edited if file and file != "dvc.lock"]:
        get_run_logger().info(f"uncommitted edits are part of this run and its experiment: {', '.join(carried)}")
    unknown = _run(["git", "ls-files", "--others", "--exclude-standard"], checkout).split("\n")
    if left := [file for file in unknown if file and file != "dvc.lock"]:
        get_run_logger().info(f"files unknown to git are not part of this run: {', '.join(left)}; `git add` them if so")


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
