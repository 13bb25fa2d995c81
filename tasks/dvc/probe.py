"""DVC's verdict on the stages of a workspace: up to date or why not, and each stage's key in the run-cache."""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptcore.addresses import redacted
from gptcore.config.presets import differences
from tasks.dvc.repository import asked


@dataclass(frozen=True)
class Verdict:
    """DVC's verdict on one stage at one moment."""

    why: tuple[str, ...]
    """The differences from the stage's last run; empty when it is up to date."""
    key: str | None
    """The stage's key in DVC's run-cache: command, dependencies, parameters. None while a dependency is missing."""
    inputs: dict[str, Any]
    """Path -> hash of each dependency that no stage writes (code), and parameter file -> values."""
    outputs: dict[str, str]
    """Path -> hash of each output, from dvc.lock."""


def probe(root: Path) -> dict[str, Verdict]:
    """Ask DVC about all stages of the dvc.yaml in `root`, in topological order. Writes nothing. Raises UserError."""
    from networkx import dfs_postorder_nodes

    with asked(root) as repo:
        stages = (stage for stage in dfs_postorder_nodes(repo.index.graph) if stage.name)
        return {stage.name: verdict_of(repo, stage) for stage in stages}


def code_of(root: Path) -> dict[str, Any]:
    """Path -> hash that it has now, of what the stages depend on beside parameters and each other. Raises UserError."""
    with asked(root) as repo:
        from dvc.dependency.param import ParamsDependency

        made, found = written(repo), dict[str, Any]()
        deps = (dep for stage in repo.index.stages for dep in stage.deps if dep.fs_path not in made)
        for path, dep in {dep.def_path: dep for dep in deps if not isinstance(dep, ParamsDependency)}.items():
            if dep.exists:
                now = copy(dep)
                now.save()
                found[path] = now.hash_info.value
        return found


def probe_stage(root: Path, stage: str) -> Verdict:
    """Ask about one stage."""
    with asked(root) as repo:
        return verdict_of(repo, named(repo, stage))


def named(repo: Any, stage: str) -> Any:
    """DVC's object for the stage, from the index, which a verdict needs anyway."""
    return next(each for each in repo.index.stages if each.name == stage)


def written(repo: Any) -> set[str]:
    """All paths that stages write."""
    return {out.fs_path for stage in repo.index.stages for out in stage.outs}


def verdict_of(repo: Any, stage: Any) -> Verdict:
    """DVC's verdict on one stage of an open repository."""
    made, now = written(repo), _now(stage)
    inputs = {dep.def_path: dep.hash_info.value for dep in now.deps if dep.hash_info and dep.fs_path not in made}
    return Verdict(tuple(_why(stage)), _key(now), inputs, outputs_of(stage))


def outputs_of(stage: Any) -> dict[str, str]:
    """Path -> hash of each output whose hash the stage object has."""
    return {out.def_path: str(out.hash_info.value) for out in stage.outs if out.hash_info}


def key_of(stage: Any) -> str | None:
    """The run-cache key of the stage as it is now."""
    return _key(_now(stage))


def _now(stage: Any) -> Any:
    """A copy of the stage with the hashes that its dependencies have now; the stage itself keeps those of dvc.lock."""
    now = copy(stage)
    now.deps = [copy(dep) for dep in stage.deps]
    now.save_deps(allow_missing=True)
    return now


def _key(stage: Any) -> str | None:
    from dvc.stage.cache import _can_hash, _get_cache_hash
    from dvc.stage.serialize import to_single_stage_lockfile

    if not all(dep.exists for dep in stage.deps) or not _can_hash(stage):
        return None
    return str(_get_cache_hash(to_single_stage_lockfile(stage), key=True))


def _why(stage: Any) -> Iterator[str]:
    """Lines such as `train.steps: 750 → 60`, `gptcore/model/gpt.py changed` or `data/model/export is missing`."""
    if not any(out.hash_info for out in stage.outs):
        yield "first run"
        return
    causes = [line for dep in stage.deps for line in _differences(dep)]
    if stage.changed_stage():
        causes.append("the command or its list of dependencies changed")
    # every fresh clone lacks the outputs, so report them only where there is no other cause
    yield from causes or [line for out in stage.outs for line in _differences(out)]


def _differences(path: Any) -> Iterator[str]:
    """The differences between dvc.lock and the workspace in one dependency or output."""
    from dvc.dependency.param import ParamsDependency

    if isinstance(path, ParamsDependency):
        for field, old, new in differences(path.hash_info.value or {}, path.read_params()):
            yield redacted(f"{field}: {'unset' if old is ... else old} → {'unset' if new is ... else new}")
        return
    for change in path.status().values():
        yield f"{path.def_path} {'is missing' if change == 'deleted' else 'changed'}"
