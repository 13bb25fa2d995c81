"""DVC's repository opened in this process: a question takes 0.02 s, while each `dvc` command takes 0.7 s to start.

`asked` is for questions, `locked` and `opened` for changes. Within `kept_open`, all of them share one repository.

Only this module and those that import it (probe, restore, record, remote, experiments) import dvc.
tests/tasks/test_probe.py checks the private API of DVC 3.67 that they use.
"""

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
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
# what DVC's index and configuration are read from
SOURCES = ("dvc.yaml", "dvc.lock", "params.yaml", ".dvcignore", ".dvc/config", ".dvc/config.local")


@dataclass
class Kept:
    """An open repository, what it has been read from, and the parameter files that it has read."""

    repo: Any = None
    sources: list[bytes | None] = field(default_factory=list)
    load: Callable[..., Any] | None = None


_kept: dict[Path, Kept] = {}


@contextmanager
def kept_open(root: Path) -> Iterator[None]:
    """Open the repository once for the whole block, and read its index anew only after a change."""
    _kept[root] = Kept()
    try:
        yield
    finally:
        if repo := _kept.pop(root).repo:
            repo.close()


@contextmanager
def asked(root: Path) -> Iterator[Any]:
    """The repository, locked, to be asked and not changed, nor the objects of its index: they serve the next question.

    They do until somebody changes one of the SOURCES, or this process changes anything.
    """
    with _open(root) as kept, kept.repo.lock:
        from dvc.dependency import param

        sources = _sources(root)
        if kept.sources != sources:
            kept.repo._reset()
            kept.sources = sources
            kept.load = None
        kept.load = kept.load or cache(param.load_path)
        kept.repo._lock_depth += 1  # else DVC's own `lock_repo` would discard the index
        try:
            with _params_read_by(kept.load):
                yield kept.repo
        finally:
            kept.repo._lock_depth -= 1


@contextmanager
def locked(root: Path) -> Iterator[Any]:
    """The repository, locked, to be changed. Raises UserError."""
    with opened(root) as repo:
        from dvc.dependency import param
        from dvc.repo import lock_repo

        with lock_repo(repo), _params_read_by(cache(param.load_path)):
            yield repo


@contextmanager
def opened(root: Path) -> Iterator[Any]:
    """The repository, not locked, to be changed. Raises UserError."""
    with _open(root) as kept:
        kept.sources = []
        yield kept.repo


def _sources(root: Path) -> list[bytes | None]:
    files = (root / source for source in SOURCES)
    return [file.read_bytes() if file.is_file() else None for file in files]


@contextmanager
def _open(root: Path) -> Iterator[Kept]:
    import_dvc()
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from scmrepo.exceptions import SCMError

    logging.getLogger("dvc").setLevel(logging.WARNING)  # the tasks' states already say the rest
    try:
        kept = _kept.get(root, Kept())
        with chdir(root):  # DVC reads stage names and prints paths relative to the current folder
            if not kept.repo:
                kept.sources = _sources(root)
                kept.repo = Repo(str(root), _wait_for_lock=True)
            try:
                yield kept
            finally:
                if root not in _kept:
                    kept.repo.close()
    except (DvcException, SCMError) as error:
        remedies = [f"; {remedy}" for sign, remedy in REMEDIES.items() if sign in str(error)]
        # without the cause, which Prefect would log, and which may name a remote with its password
        raise UserError(f"DVC cannot work in {root}: {line(error)}{''.join(remedies[:1])}") from None


@cache
def import_dvc() -> None:
    """Import DVC, then exclude all imported objects from garbage collection, which saves half a second per run."""
    import dvc.repo
    import dvc.rwlock
    import dvc.stage.cache  # noqa: F401

    gc.freeze()


@contextmanager
def _params_read_by(load: Callable[..., Any]) -> Iterator[None]:
    """Verdict and record use the same params.yaml; DVC would otherwise parse it 30 times per stage."""
    from dvc.dependency import param

    original, param.load_path = param.load_path, load
    try:
        yield
    finally:
        param.load_path = original


def cache_folder(root: Path) -> Path:
    """The folder of DVC's cache, according to its configuration inside and outside the repository."""
    with _open(root) as kept:
        return Path(kept.repo.cache.legacy.path)


def cached_file(cache: Path, md5: str) -> Path:
    """Where a cache folder has the file with this hash."""
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def is_remote_set(root: Path) -> bool:
    """Whether DVC has a default remote."""
    with _open(root) as kept:
        return has_remote(kept.repo)


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
