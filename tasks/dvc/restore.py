"""Bringing back what a stage has made before, from DVC's cache or its remote, in place of running it."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.dvc.remote import fetch_records, records, remote_trouble
from tasks.dvc.repository import has_remote, locked


def restore(root: Path, stage: str, key: str) -> bool:
    """Bring the stage's outputs back from DVC's cache or its remote; False if they are in neither.

    They are those of dvc.lock if only they are missing, else those of the last run with today's inputs, whose name in
    the run-cache is `key`. As in `dvc repro`, which would run the stage next, what is there of them is removed first.
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
        runs.rmdir()  # an empty folder of records, as a kill can leave it, is one too many for DVC
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
    """DVC takes an object for whole because it is read-only; else it hashes it, and removes it if it is not."""
    from dvc_objects.errors import ObjectFormatError

    cache = stage.repo.cache.local
    for objects in stage.get_used_objs().values():
        for each in objects:
            Path(cache.oid_to_path(each.value)).chmod(0o644)
            with suppress(ObjectFormatError):
                cache.check(each.value)
