"""DVC's remote: what goes there after a stage, and what comes from there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gptcore.errors import Unavailable, UserError
from gptcore.files import atomic_path
from tasks.dvc.probe import key_of, named, written
from tasks.dvc.repository import line, locked


def fetch_inputs(root: Path, stage: str) -> None:
    """Pull what `stage` reads of other stages, as dvc.lock names it. Raises UserError, Unavailable."""
    with locked(root) as repo:
        made = written(repo)
        missing = [dep.def_path for dep in named(repo, stage).deps if dep.fs_path in made and not dep.exists]
        if missing:
            with remote_trouble(f"{', '.join(missing)} cannot be fetched from DVC's remote"):
                repo.pull(missing)


def push(root: Path, stage: str) -> int:
    """Put what is known of the stage's present state into DVC's remote: outputs and run record; the objects that went.

    (`dvc push --run-cache` would send the records of all runs there ever were, each time.) Raises UserError when it
    can never succeed, Unavailable when it may later.
    """
    with locked(root) as repo, remote_trouble(f"{stage} cannot be pushed to DVC's remote"):
        sent = int(repo.push(targets=[stage]))
        (found,) = repo.stage.collect(stage)
        key = key_of(found)
        assert key
        here = records(repo, key)
        files, there = _remote_records(repo, here)
        for record in here.glob("*"):
            files.put_file(str(record), files.join(there, record.name))
        return sent


def fetch_records(repo: Any, here: Path) -> None:
    """(`dvc pull --run-cache` fetches those of all runs there ever were, each time.)"""
    files, there = _remote_records(repo, here)
    for record in files.find(there) if files.exists(there) else ():
        with atomic_path(here / files.name(record)) as temporary:
            files.get_file(record, str(temporary))


def records(repo: Any, key: str) -> Path:
    """The folder in the run-cache of the records of all runs with this key."""
    return Path(repo.stage_cache._get_cache_dir(key))


def _remote_records(repo: Any, here: Path) -> tuple[Any, str]:
    """The remote's file system, and the folder in it of the same name as `here`."""
    there = repo.cloud.get_remote_odb(None, "push --run-cache", hash_name="md5-dos2unix")
    return there.fs, there.fs.join(there.path, "runs", here.parent.name, here.name)


@contextmanager
def remote_trouble(what: str) -> Iterator[None]:
    """One line; Unavailable unless nothing but a person can mend it."""
    from botocore.exceptions import NoCredentialsError, PartialCredentialsError

    try:
        yield
    except (FileNotFoundError, PermissionError, NoCredentialsError, PartialCredentialsError) as error:
        raise UserError(f"{what}: {line(error)}; see `dvc remote list` and the credentials") from None
    except Exception as error:  # each kind of remote has its own, and most pass by
        raise Unavailable(f"{what}: {line(error)}") from None
