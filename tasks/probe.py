"""What the tasks ask of DVC, in this process: 0.1 s a question, while each `dvc` takes 0.7 s to start.

The only importer of dvc. What is private to DVC 3.67 here (the stage key, its folder in the run-cache) has a canary in
tests/test_probe.py.
"""

import logging
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptcore.errors import Unavailable, UserError
from gptcore.files import atomic_path
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
    with _locked(root) as repo:
        return _graph(repo)


def record(root: Path, stage: str) -> Graph:
    """`dvc commit --force`: put the stage's outputs into the cache and its run into dvc.lock and the run-cache."""
    with _locked(root) as repo:
        repo.commit(stage, force=True)
        return _graph(repo)


def restore(root: Path, stage: str) -> Graph | None:
    """Bring the stage's outputs back from DVC's cache or its remote instead of running it; None if they are in neither.

    They are those of dvc.lock if only they are missing, else those of the last run with today's inputs. As in `dvc
    repro`, which would run the stage next, what is there of them is removed first. Raises UserError, Unavailable.
    """
    with _locked(root) as repo:
        (found,) = repo.stage.collect(stage)
        if _key(found) is None:
            return None
        if not _restored(repo, stage):
            if not _has_remote(repo):
                return None
            with _remote_trouble(f"{stage} cannot be fetched from DVC's remote"):
                _fetch_records(repo, stage)
                if not _restored(repo, stage, pull=True):
                    return None
        return _graph(repo)


def fetch_inputs(root: Path, stage: str) -> Graph:
    """Pull what `stage` reads of other stages, as dvc.lock names it. Raises UserError, Unavailable."""
    with _locked(root) as repo:
        (found,) = repo.stage.collect(stage)
        made = {out.fs_path for each in repo.index.stages for out in each.outs}
        missing = [dep.def_path for dep in found.deps if dep.fs_path in made and not dep.exists]
        if missing:
            with _remote_trouble(f"{', '.join(missing)} cannot be fetched from DVC's remote"):
                repo.pull(missing)
        return _graph(repo)


def push(root: Path, stage: str) -> int:
    """Put what is known of the stage's present state into DVC's remote: outputs and run record; the objects that went.

    (`dvc push --run-cache` would send the records of all runs there ever were, each time.) Raises UserError when it
    can never succeed, Unavailable when it may later.
    """
    with _locked(root) as repo, _remote_trouble(f"{stage} cannot be pushed to DVC's remote"):
        sent = int(repo.push(targets=[stage]))
        here = _records(repo, stage)
        files, there = _remote_records(repo, here)
        for record in here.glob("*"):
            files.put_file(str(record), files.join(there, record.name))
        return sent


def cache_folder(root: Path) -> Path:
    """Where DVC keeps objects and runs, as its configuration in and outside of the repository says."""
    with _opened(root) as repo:
        return Path(repo.cache.legacy.path)


def share_cache(root: Path, cache: Path) -> None:
    """Let the clone `root` use the DVC cache at `cache`."""
    with _opened(root) as repo, repo.config.edit("local") as config:
        config.setdefault("cache", {})["dir"] = str(cache)


def save_experiment(root: Path, name: str, push_to: str | None) -> None:
    """`dvc exp save`, and `dvc exp push` to the git remote `push_to`, without data. Raises UserError."""
    from dvc.lock import LockError

    with _opened(root) as repo:
        while True:
            with repo.lock:  # waits, which DVC's own saving does not
                pass
            try:
                repo.experiments.save(name=name, force=True)
                break
            except LockError:
                continue
        if push_to:
            repo.experiments.push(push_to, [name], force=True, push_cache=False)


@contextmanager
def _opened(root: Path) -> Iterator[Any]:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.WARNING)  # what it tells otherwise, the tasks' states say
    try:
        # DVC reads stage names and prints paths relative to the current folder, which is the checkout
        with chdir(root), Repo(str(root), _wait_for_lock=True) as repo:
            yield repo
    except DvcException as error:
        raise UserError(f"DVC cannot work in {root}: {_line(error)}") from error


@contextmanager
def _locked(root: Path) -> Iterator[Any]:
    from dvc.repo import lock_repo

    with _opened(root) as repo, lock_repo(repo):
        yield repo


def _graph(repo: Any) -> Graph:
    from networkx import dfs_postorder_nodes

    repo._reset()  # dvc.lock may have been written meanwhile
    made = {out.fs_path for stage in repo.index.stages for out in stage.outs}
    stages = (stage for stage in dfs_postorder_nodes(repo.index.graph) if stage.name)
    verdicts = {stage.name: _verdict(stage, made) for stage in stages}
    return Graph(verdicts, Path(repo.cache.legacy.path), _has_remote(repo))


def _verdict(stage: Any, made: set[str]) -> Verdict:
    why = tuple(_why(stage))
    outputs = {out.def_path: str(out.hash_info.value) for out in stage.outs if out.hash_info}
    key = _key(stage)
    inputs = {dep.def_path: dep.hash_info.value for dep in stage.deps if dep.hash_info and dep.fs_path not in made}
    return Verdict(why, key, inputs, outputs)


def _key(stage: Any) -> str | None:
    """Of the stage as it is now; in memory, today's hashes take the place of those of dvc.lock."""
    from dvc.stage.cache import _can_hash, _get_stage_hash

    stage.save_deps(allow_missing=True)
    return _get_stage_hash(stage) if all(dep.exists for dep in stage.deps) and _can_hash(stage) else None


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


def _has_remote(repo: Any) -> bool:
    return "remote" in repo.config["core"]


def _records(repo: Any, stage: str) -> Path:
    """The folder of the stage's run records in the run-cache, of which the stage's key is the name."""
    (other,) = repo.stage.collect(stage)
    key = _key(other)
    assert key
    return Path(repo.stage_cache._get_cache_dir(key))


def _remote_records(repo: Any, here: Path) -> tuple[Any, str]:
    """The remote's file system, and the folder in it of the same name as `here`."""
    there = repo.cloud.get_remote_odb(None, "push --run-cache", hash_name="md5-dos2unix")
    return there.fs, there.fs.join(there.path, "runs", here.parent.name, here.name)


def _fetch_records(repo: Any, stage: str) -> None:
    """(`dvc pull --run-cache` fetches those of all runs there ever were, each time.)"""
    here = _records(repo, stage)
    files, there = _remote_records(repo, here)
    for record in files.find(there) if files.exists(there) else ():
        with atomic_path(here / files.name(record)) as temporary:
            files.get_file(record, str(temporary))


def _restored(repo: Any, name: str, pull: bool = False) -> bool:
    from dvc.stage.cache import RunCacheNotFoundError

    (stage,) = repo.stage.collect(name)  # anew each time, as asking for its key changes it
    with suppress(OSError):
        _records(repo, name).rmdir()  # an empty folder of records, as a kill can leave it, is one too many for DVC
    stage.remove_outs(ignore_remove=False, force=False)
    try:
        repo.stage_cache.restore(stage, pull=pull)
    except RunCacheNotFoundError:
        with suppress(OSError):
            _records(repo, name).rmdir()
        return False
    run = repo.stage_cache._load(stage)
    stage.save()
    if run and {each["path"]: each.get("size") for each in run["outs"]} != _sizes(stage):
        _remove_torn(stage)
        return False
    stage.commit()
    stage.dump(update_pipeline=False)
    return True


def _sizes(stage: Any) -> dict[str, int | None]:
    return {out.def_path: out.meta.size for out in stage.outs}


def _remove_torn(stage: Any) -> None:
    """DVC takes an object for whole because it is read-only; else it hashes it, and removes it if it is not."""
    from dvc_objects.errors import ObjectFormatError

    cache = stage.repo.cache.local
    for objects in stage.get_used_objs().values():
        for each in objects:
            Path(cache.oid_to_path(each.value)).chmod(0o644)
            with suppress(ObjectFormatError):
                cache.check(each.value)


@contextmanager
def _remote_trouble(what: str) -> Iterator[None]:
    """One line; Unavailable unless nothing but a person can mend it."""
    from botocore.exceptions import NoCredentialsError, PartialCredentialsError

    try:
        yield
    except (FileNotFoundError, PermissionError, NoCredentialsError, PartialCredentialsError) as error:
        raise UserError(f"{what}: {_line(error)}; see `dvc remote list` and the credentials") from error
    except Exception as error:  # each kind of remote has its own, and most pass by
        raise Unavailable(f"{what}: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
