"""Restore a stage's outputs from DVC's cache or its remote instead of running it."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.dvc.remote import fetch_records, records, remote_trouble
from tasks.dvc.repository import has_remote, locked


def restore(root: Path, stage: str, key: str) -> bool:
    """Restore the stage's outputs from DVC's cache or its remote; False if they are in neither.

    If only the outputs are missing, restores those in dvc.lock; otherwise those of the last run with the current
    inputs, whose run-cache key is `key`. Like `dvc repro` before it runs a stage, removes existing outputs first.
    Raises UserError, Unavailable.
    """
    with locked(root) as repo:
        runs = records(repo, key)
        if not _restored(repo, stage, runs):
            if not has_remote(repo):
                return False
            with remote_trouble(f"{stage} cannot be fetched from DVC's remote"):
                fetch_records(repo, runs)
                if not _restored(repo, stage, runs, pull=True):
                    return False
        return True


def _restored(repo: Any, name: str, runs: Path, pull: bool = False) -> bool:
    from dvc.stage.cache import RunCacheNotFoundError

    (stage,) = repo.stage.collect(name)
    with suppress(OSError):
        runs.rmdir()  # DVC fails on an empty folder of records, which a kill can leave
    stage.remove_outs(ignore_remove=False, force=False)
    try:
        repo.stage_cache.restore(stage, pull=pull)
    except RunCacheNotFoundError:
        with suppress(OSError):
            runs.rmdir()
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
    """Remove damaged objects from the cache. DVC trusts read-only objects, so make them writable first."""
    from dvc_objects.errors import ObjectFormatError

    cache = stage.repo.cache.local
    for objects in stage.get_used_objs().values():
        for each in objects:
            Path(cache.oid_to_path(each.value)).chmod(0o644)
            with suppress(ObjectFormatError):
                cache.check(each.value)
