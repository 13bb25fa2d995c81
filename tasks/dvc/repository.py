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

# what to do, by what DVC says
REMEDIES = {
    "not a git repository": "clone it with git, or run `git init` here and commit what is there",
    "inside of a DVC repository": "`git checkout .dvc` brings back its settings",
    "user name and email": "`git config --global user.name NAME`, `user.email` likewise; then run it again",
    "dvc.lock": "after a merge `git checkout --ours dvc.lock`, or remove it: DVC's cache still has the results",
    "dvc.yaml": "`git diff dvc.yaml` shows what has changed in it",
}


@contextmanager
def opened(root: Path) -> Iterator[Any]:
    _import_dvc()
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from scmrepo.exceptions import SCMError

    logging.getLogger("dvc").setLevel(logging.WARNING)  # what it tells otherwise, the tasks' states say
    try:
        # DVC reads stage names and prints paths relative to the current folder, which is the checkout
        with chdir(root), Repo(str(root), _wait_for_lock=True) as repo:
            yield repo
    except (DvcException, SCMError) as error:
        remedies = [f"; {remedy}" for sign, remedy in REMEDIES.items() if sign in str(error)]
        raise UserError(f"DVC cannot work in {root}: {line(error)}{''.join(remedies[:1])}") from error


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
    from configobj import ConfigObj

    # what DVC itself writes with; but it writes ASCII alone, and reads UTF-8
    config = ConfigObj(str(root / ".dvc" / "config.local"), encoding="utf-8", interpolation=False)
    config.setdefault("cache", {})["dir"] = str(cache)
    config.write()


def has_remote(repo: Any) -> bool:
    return "remote" in repo.config["core"]


def line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
