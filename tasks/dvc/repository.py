"""DVC's repository opened in this process: a query takes 0.1 s, while each `dvc` command takes 0.7 s to start.

Only this module and those that import it (probe, restore, record, remote) import dvc. tests/tasks/test_probe.py checks
the private API of DVC 3.67 that they use.
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

    logging.getLogger("dvc").setLevel(logging.WARNING)  # the tasks' states already say the rest
    try:
        # DVC reads stage names and prints paths relative to the current folder, which is the checkout
        with chdir(root), Repo(str(root), _wait_for_lock=True) as repo:
            yield repo
    except (DvcException, SCMError) as error:
        remedies = [f"; {remedy}" for sign, remedy in REMEDIES.items() if sign in str(error)]
        # without the cause, which Prefect would log, and which may name a remote with its password
        raise UserError(f"DVC cannot work in {root}: {line(error)}{''.join(remedies[:1])}") from None


@cache
def _import_dvc() -> None:
    """Import DVC, then exclude all imported objects from garbage collection, which saves half a second per run."""
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
    """Verdict and record use the same params.yaml; DVC would otherwise parse it 30 times per stage."""
    from dvc.dependency import param

    load = param.load_path
    param.load_path = cache(load)
    try:
        yield
    finally:
        param.load_path = load


def cache_folder(root: Path) -> Path:
    """The folder of DVC's cache, according to its configuration inside and outside the repository."""
    with opened(root) as repo:
        return Path(repo.cache.legacy.path)


def is_remote_set(root: Path) -> bool:
    """Whether DVC has a default remote."""
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
