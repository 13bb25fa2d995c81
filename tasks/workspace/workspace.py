"""Where a flow run works: the checkout, or a clone of it that shares its git objects and DVC cache."""

import re
import shlex
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.context import FlowRunContext
from prefect.runtime import flow_run

from gptcore.config.environment import check_environment
from gptcore.config.overrides import repeated
from gptcore.config.params import read_params
from gptcore.config.paths import Paths
from gptcore.config.presets import STAGES, compose, flatten, write
from gptcore.config.settings import settings
from gptcore.config.workspaces import hold, sign
from gptcore.errors import UserError
from gptcore.files import read_json
from tasks.dvc.probe import Verdict, probe_stage
from tasks.dvc.record import held, record, save_experiment
from tasks.dvc.remote import fetch_inputs
from tasks.dvc.repository import is_remote_set, kept_open, share_cache
from tasks.dvc.restore import restore
from tasks.workspace.clone import RESUMED, clone, clone_at, clone_handed_over, git

# the values of params.yaml that name where to read
PLACES = (
    "data.source", "tokenize.sentencepiece_model", "baseline.source", "train.start", "retained.data.source",
    "evaluate.tasks",
)  # fmt: skip
INPUTS = ("download", "start")  # what these stages bring comes from elsewhere, and may be gone there
PUBLIC = "package:// hf:// https:// s3://"  # not http://, by which a cloud's machines are told their credentials


class Workspace:
    """A folder with a dvc.yaml for one flow run."""

    def __init__(self, root: Path, checkout: Path) -> None:
        self.root, self.checkout, self.paths = root, checkout, Paths(root)
        self.gpu_pool: str | None = None
        self.runs_anew = False
        self.has_remote = is_remote_set(root)
        self.ran: list[str] = []
        self.settings: dict[str, str] = {}  # GPTCORE_* variables for the stages
        self._known: dict[str, Verdict] = {}

    @cached_property
    def stages(self) -> list[str]:
        """Those of its dvc.yaml: that of an old commit need not have all of STAGES."""
        known = read_params(self.root / "dvc.yaml")["stages"]
        return [stage for stage in STAGES if stage in known]

    def verdict(self, stage: str) -> Verdict:
        """DVC's verdict on one stage at this moment."""
        self._known[stage] = probe_stage(self.root, stage)
        return self._known[stage]

    def verdicts(self) -> dict[str, Verdict]:
        """DVC's verdict on every stage: what this run knows already, as long as the stage's outputs are the same."""
        return {stage: self._known.get(stage) or self.verdict(stage) for stage in self.stages}

    def restore(self, stage: str, key: str | None) -> bool:
        """Restore the stage's outputs from DVC's cache, or from its remote if there is one; False if it has to run."""
        self._known.pop(stage, None)
        return key is not None and not self.runs_anew and restore(self.root, stage, key)

    def fetch_inputs(self, stage: str) -> None:
        """Fetch missing inputs of `stage` that other stages make from DVC's remote."""
        fetch_inputs(self.root, stage)

    def held(self, stage: str) -> AbstractContextManager[str]:
        """Lock the files of `stage` for the flow; yields its shell command."""
        return held(self.root, stage)

    def record(self, stage: str, key: str | None) -> Verdict:
        """Commit the outputs of `stage` to DVC if its key is still `key`; returns the new verdict."""
        self.ran.append(stage)
        self._known[stage] = record(self.root, stage, key)
        return self._known[stage]

    def metrics(self, stage: str) -> dict[str, Any]:
        """The stage's metrics, `{"model": {"loss": 3}}` as `{"model.loss": 3}`."""
        return flatten(read_json(self.paths.of(stage) / "metrics.json"))

    def commit(self) -> str:
        """The git commit the run started from."""
        return git(["rev-parse", "HEAD"], self.root)

    def save_experiment(self, flow_run_name: str) -> str | None:
        """Save params, metrics and dvc.lock as a DVC experiment under the flow run's name, and return that name.

        The workspace does not change. A clone pushes the experiment to its origin. Saves nothing and returns None when
        no stage has run in the checkout.
        """
        if self.root == self.checkout and not self.ran:
            return None
        name = plain_name(flow_run_name)
        save_experiment(self.root, name, push_to=None if self.root == self.checkout else "origin")
        return name


def plain_name(flow_run_name: str) -> str:
    """The flow run's name with only characters that are valid in a git reference and a folder name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", flow_run_name).strip("-")


@contextmanager
def open_workspace(overrides: list[str], is_apart: bool) -> Iterator[Workspace]:
    """The current folder; with overrides or `is_apart`, a clone of it, removed at the end unless the run fails.

    Raises UserError, before it creates anything, when the folder is not a checkout or an override is wrong.
    """
    checkout = _checkout()
    if not overrides and not is_apart:
        with kept_open(checkout):
            yield Workspace(checkout, checkout)
        return
    values = compose(overrides, Paths(checkout).params) if overrides else None
    for line in repeated(overrides):
        get_run_logger().info(line)
    with _held(checkout) as root:
        clone(checkout, root)
        sign(root, flow_run.id)
        if values:
            write(values, Paths(root).params)
        with kept_open(root):
            workspace = Workspace(root, checkout)
            if values and is_deployed() and not settings().data_roots:
                workspace.settings = _data_roots(values, checkout)
            yield workspace


def is_deployed() -> bool:
    """Whether the run is one of a deployment. `prefect.runtime.deployment.id` would ask the server (0.2 s)."""
    context = FlowRunContext.get()
    return bool(context and context.flow_run and context.flow_run.deployment_id)


def _data_roots(values: dict[str, Any], checkout: Path) -> dict[str, str]:
    """What the stages may read if overrides have changed where: whoever started the run need not own this machine."""
    named, own = flatten(values), flatten(read_params(Paths(checkout).params))
    if all(named.get(place) == own.get(place) for place in PLACES):
        return {}
    return {"GPTCORE_DATA_ROOTS": f". {shlex.quote(str(checkout))} {PUBLIC}"}


@contextmanager
def open_handed_over(reference: str) -> Iterator[Workspace]:
    """A clone of the state that another run has handed over by `reference`."""
    checkout = _checkout()
    with _held(checkout) as root:
        clone_handed_over(checkout, root, reference)
        sign(root, flow_run.id)
        with kept_open(root):
            yield Workspace(root, checkout)


@contextmanager
def open_commit(parent: str, commit: str, anew: bool) -> Iterator[Workspace]:
    """A clone of `parent` with the files of `commit`.

    `anew`: every stage runs that computes, none of INPUTS, with a cache of its own and no resume states.
    """
    checkout = _checkout()
    with _held(checkout) as root:
        clone_at(checkout, root, parent, commit, ("download",) if anew else RESUMED)
        sign(root, flow_run.id)
        workspace = Workspace(root, checkout)
        if anew:
            keys = {stage: probe_stage(root, stage).key for stage in INPUTS if stage in workspace.stages}
            there = {stage: key for stage, key in keys.items() if key is not None and restore(root, stage, key)}
            share_cache(root, root / ".dvc" / "cache")
            for stage, key in there.items():
                record(root, stage, key)
        with kept_open(root):
            workspace.runs_anew = anew
            yield workspace


def _checkout() -> Path:
    check_environment()
    checkout = Path.cwd()
    if not (checkout / "dvc.yaml").is_file():
        raise UserError(f"there is no dvc.yaml in {checkout}; run this in the repository's root folder")
    return checkout


@contextmanager
def _held(checkout: Path) -> Iterator[Path]:
    with hold(checkout, plain_name(flow_run.name)) as root:
        try:
            yield root
        except BaseException:
            get_run_logger().warning(f"the workspace is kept: {root}")
            raise
