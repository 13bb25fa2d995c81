"""DVC's view of a workspace, opened in this process: a question takes 0.1 s, while each `dvc` takes 0.7 s to start.

With the modules that import this one (probe, restore, record, remote) the only importer of dvc. What is private to
DVC 3.67 there has a canary in tests/tasks/test_probe.py.
"""

import gc
import logging
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from gptcore.errors import UserError


@contextmanager
def opened(root: Path) -> Iterator[Any]:
    _import_dvc()
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.WARNING)  # what it tells otherwise, the tasks' states say
    try:
        # DVC reads stage names and prints paths relative to the current folder, which is the checkout
        with chdir(root), Repo(str(root), _wait_for_lock=True) as repo:
            yield repo
    except DvcException as error:
        # without the cause, which Prefect would log, and which may name a remote with its password
        raise UserError(f"DVC cannot work in {root}: {line(error)}") from None


@cache
def _import_dvc() -> None:
    """From then on the garbage collector passes over all that imports have made: half a second of a run."""
    import dvc.repo
    import dvc.rwlock
    import dvc.stage.cache  # noqa: F401

    gc.freeze()


@contextmanager
def locked(root: Path) -> Iterator[Any]:
    from dvc.repo import lock_repo

    with opened(root) as repo, lock_repo(repo), _params_read_once():
        yield repo


@contextmanager
def _params_read_once() -> Iterator[None]:
    """What is asked and what is then recorded are of the same params.yaml; and DVC would parse it 30 times a stage."""
    from dvc.dependency import param

    load = param.load_path
    param.load_path = cache(load)
    try:
        yield
    finally:
        param.load_path = load


def cache_folder(root: Path) -> Path:
    """Where DVC keeps objects and runs, as its configuration in and outside of the repository says."""
    with opened(root) as repo:
        return Path(repo.cache.legacy.path)


def is_remote_set(root: Path) -> bool:
    """Whether DVC has a default remote there."""
    with opened(root) as repo:
        return has_remote(repo)


def share_cache(root: Path, cache: Path) -> None:
    """Let the clone `root` use the DVC cache at `cache`."""
    with opened(root) as repo, repo.config.edit("local") as config:
        config.setdefault("cache", {})["dir"] = str(cache)


def has_remote(repo: Any) -> bool:
    return "remote" in repo.config["core"]


def line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
