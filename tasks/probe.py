"""DVC's verdict on every stage of a workspace, asked once and in this process: 0.3 s, while each `dvc` takes 0.7 s.

The only importer of dvc. What is private to DVC 3.67 here (the stage key) has a canary in tests/test_probe.py.
"""

from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptcore.errors import UserError
from gptcore.presets import differences


@dataclass(frozen=True)
class Verdict:
    """What DVC says of one stage at one moment."""

    why: tuple[str, ...]
    """What differs from the stage's last run; empty when it is up to date."""
    key: str | None
    """The stage's name in DVC's run-cache: command, dependencies, parameters. None while a dependency is missing."""
    inputs: dict[str, Any]
    """Path -> hash of each dependency that no stage writes (code), and parameter file -> values."""
    outputs: dict[str, str]
    """Path -> hash of each output, as dvc.lock has it."""


@dataclass(frozen=True)
class Graph:
    """DVC's view of a workspace: stages in an order in which they can run."""

    verdicts: dict[str, Verdict]
    cache: Path
    has_remote: bool


def probe(root: Path) -> Graph:
    """Ask DVC about all stages of the dvc.yaml in `root`; nothing is written. Raises UserError."""
    with _open(root) as repo:
        made = {out.fs_path for stage in repo.index.stages for out in stage.outs}
        verdicts = {stage.name: _verdict(stage, made) for stage in _in_order(repo)}
        return Graph(verdicts, Path(repo.cache.legacy.path), has_remote="remote" in repo.config["core"])


def record(root: Path, stage: str) -> None:
    """`dvc commit --force`: put the stage's outputs into the cache and its run into dvc.lock and the run-cache."""
    with _open(root) as repo:
        repo.commit(stage, force=True)


@contextmanager
def _open(root: Path) -> Iterator[Any]:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo, lock_repo

    try:
        # DVC reads stage names and prints paths relative to the current folder, which is the checkout
        with chdir(root), Repo(str(root), _wait_for_lock=True) as repo, lock_repo(repo):
            yield repo
    except DvcException as error:
        raise UserError(f"DVC cannot work in {root}: {' '.join(str(error).split())}") from error


def _in_order(repo: Any) -> Iterator[Any]:
    from networkx import dfs_postorder_nodes

    return (stage for stage in dfs_postorder_nodes(repo.index.graph) if stage.name)


def _verdict(stage: Any, made: set[str]) -> Verdict:
    from dvc.stage.cache import _can_hash, _get_stage_hash

    why = tuple(_why(stage))
    outputs = {out.def_path: str(out.hash_info.value) for out in stage.outs if out.hash_info}
    stage.save_deps(allow_missing=True)  # in memory: today's hashes in place of those of dvc.lock
    can_hash = all(dep.exists for dep in stage.deps) and _can_hash(stage)
    key = _get_stage_hash(stage) if can_hash else None
    inputs = {dep.def_path: dep.hash_info.value for dep in stage.deps if dep.hash_info and dep.fs_path not in made}
    return Verdict(why, key, inputs, outputs)


def _why(stage: Any) -> Iterator[str]:
    """Lines such as `train.steps: 750 → 60`, `gptcore/model.py changed` or `data/model/export is missing`."""
    if not any(out.hash_info for out in stage.outs):
        yield "first run"
        return
    causes = [line for dep in stage.deps for line in _differences(dep)]
    if stage.changed_stage():
        causes.append("the command or its list of dependencies changed")
    # outputs are missing in every fresh clone: worth a line only where there is no other cause
    yield from causes or [line for out in stage.outs for line in _differences(out)]


def _differences(path: Any) -> Iterator[str]:
    """What differs between dvc.lock and the workspace, in one dependency or output of a stage."""
    from dvc.dependency.param import ParamsDependency

    if isinstance(path, ParamsDependency):
        for field, old, new in differences(path.hash_info.value or {}, path.read_params()):
            yield f"{field}: {'unset' if old is ... else old} → {'unset' if new is ... else new}"
        return
    for change in path.status().values():
        yield f"{path.def_path} {'is missing' if change == 'deleted' else 'changed'}"
