"""DVC's remote: push a stage's outputs and run record, fetch those of other machines."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gptcore.errors import Unavailable, UserError
from gptcore.files import atomic_path
from tasks.dvc.probe import key_of, named, written
from tasks.dvc.repository import line, locked


def fetch_inputs(root: Path, stage: str) -> None:
    """Pull the outputs of other stages that `stage` reads, as recorded in dvc.lock. Raises UserError, Unavailable."""
    with locked(root) as repo:
        made = written(repo)
        missing = [dep.def_path for dep in named(repo, stage).deps if dep.fs_path in made and not dep.exists]
        if missing:
            with remote_trouble(f"{', '.join(missing)} cannot be fetched from DVC's remote"):
                repo.pull(missing)


def push(root: Path, stage: str) -> int:
    """Push the stage's current outputs and run record to DVC's remote; returns the number of objects sent.

    (`dvc push --run-cache` would send the records of all past runs each time.) Raises UserError when a retry cannot
    help, Unavailable when it may.
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
    """Fetch the records of one key. (`dvc pull --run-cache` would fetch those of all past runs each time.)"""
    files, there = _remote_records(repo, here)
    with suppress(FileNotFoundError):
        files.info(there)  # raises where `exists` and, on some kinds of remotes, `find` take an error for an absence
    try:
        found = list(files.find(there))
    except FileNotFoundError as error:  # not the folder is missing, but the bucket
        raise FileNotFoundError(f"{there}: {error}") from None
    for record in found:
        with atomic_path(here / files.name(record)) as temporary:
            files.get_file(record, str(temporary))


def records(repo: Any, key: str) -> Path:
    """The run-cache folder with the records of all runs with this key."""
    return Path(repo.stage_cache._get_cache_dir(key))


def _remote_records(repo: Any, here: Path) -> tuple[Any, str]:
    """The remote's file system, and the folder there that corresponds to `here`."""
    there = repo.cloud.get_remote_odb(None, "push --run-cache", hash_name="md5-dos2unix")
    return there.fs, there.fs.join(there.path, "runs", here.parent.name, here.name)


@contextmanager
def remote_trouble(what: str) -> Iterator[None]:
    """Turn an error of the remote into one line: UserError if the user must fix it, else Unavailable."""
    from botocore.exceptions import NoCredentialsError, PartialCredentialsError

    try:
        yield
    except (FileNotFoundError, PermissionError, NoCredentialsError, PartialCredentialsError) as error:
        raise UserError(f"{what}: {line(error)}; see `dvc remote list` and the credentials") from None
    except Exception as error:  # each kind of remote raises its own, and most are transient
        raise Unavailable(f"{what}: {line(error)}") from None
