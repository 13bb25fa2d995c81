"""Git for workspaces: clone the checkout as it is, or the state that another run has handed over."""

import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect import get_run_logger

from gptcore.addresses import split_credentials
from gptcore.config.paths import Paths
from gptcore.config.settings import settings
from gptcore.errors import UserError
from tasks.dvc.repository import cache_folder, share_cache
from tasks.process.group import child_environment

# `git apply` must understand it, whatever the user's git configuration
GIT_DIFF = ["git", "diff", "--binary", "--no-color", "--no-ext-diff", "--src-prefix=a/", "--dst-prefix=b/"]
COMMITTER = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (("NAME", "gptcore"), ("EMAIL", "gptcore@localhost"))
}


def clone(checkout: Path, root: Path) -> None:
    """Clone the checkout as it is: its commit, its uncommitted edits as edits, dvc.lock."""
    clone_repository(checkout, root)
    edits = _run([*GIT_DIFF, "HEAD"], checkout)
    if edits:  # not as a commit, so that the experiment's parent stays the checkout's commit
        _run(["git", "apply", "--whitespace=nowarn"], root, edits)
    if (checkout / "dvc.lock").exists():  # it may not be tracked yet
        shutil.copy(checkout / "dvc.lock", root)
    _say_what_travels(checkout)
    _share(checkout, root)


def clone_handed_over(checkout: Path, root: Path, reference: str) -> None:
    """Clone the state that `handed_over` pushed to the repository that both runs share."""
    clone_repository(checkout, root, "--no-checkout")
    git(["fetch", "--quiet", "--", "origin", reference], root)  # whatever it is, it is no option
    git(["checkout", "--quiet", "--detach", "FETCH_HEAD"], root)
    _share(checkout, root)


def clone_at(checkout: Path, root: Path, parent: str, commit: str, resumed: Collection[str]) -> None:
    """Clone `parent` with the files of `commit`, an experiment of it; the resume states are those of `resumed` alone.

    As edits, not as a commit: in the commit of an experiment git tracks plots too, which are outputs of stages.
    """
    clone_repository(checkout, root, "--no-checkout")
    git(["checkout", "--quiet", "--detach", commit], root)
    git(["reset", "--quiet", parent], root)
    shutil.copy(checkout / ".dvc/config", root / ".dvc")  # where data is kept today, not where it was then
    _share(checkout, root, resumed)


@contextmanager
def handed_over(root: Path, name: str) -> Iterator[str]:
    """Push tracked files and dvc.lock as a commit to the clone's origin; yield its reference, removed at the end."""
    reference = f"refs/gptcore/{name}"
    with tempfile.TemporaryDirectory(prefix="gptcore-") as folder:
        index = {**COMMITTER, "GIT_INDEX_FILE": f"{folder}/index"}  # leaves the clone's own index untouched
        git(["read-tree", "HEAD"], root, index)
        git(["add", "--update"], root, index)
        git(["add", "--force", "dvc.lock"], root, index)
        tree = git(["write-tree"], root, index)
        commit = git(["commit-tree", "-p", "HEAD", "-m", f"State of the flow run {name}", tree], root, index)
    git(["push", "--quiet", "--force", "origin", f"{commit}:{reference}"], root)
    try:
        yield reference
    finally:
        take_back(root, reference)


def take_back(root: Path, reference: str) -> None:
    """Remove the reference that `handed_over` pushed."""
    git(["push", "--quiet", "origin", f":{reference}"], root)


def git(arguments: list[str], folder: Path, environment: dict[str, str] | None = None) -> str:
    """What `git ARGUMENTS` prints in `folder`. Raises UserError."""
    return _run(["git", *arguments], folder, environment=environment).strip()


def clone_repository(checkout: Path, root: Path, *options: str) -> None:
    """A clone whose origin is GPTCORE_REPOSITORY if that is set, and the checkout if not."""
    git(["clone", "--quiet", "--shared", *options, str(checkout), str(root)], checkout)
    if address := settings().repository:
        own = git(["config", "--get", "--default", "", "remote.origin.url"], checkout)
        # the checkout of a container was cloned with the credentials of that repository
        git(["remote", "set-url", "origin", own if split_credentials(own)[0] == address else address], root)


# their resume states, and what trackers are still to be told, are stored by identity
RESUMED = ("download", "tokenize", "train", "baseline", "tracking")


def _share(checkout: Path, root: Path, resumed: Collection[str] = RESUMED) -> None:
    """Share DVC's cache and settings, and the resume states, so that a later run of the same identity can resume."""
    if (checkout / ".dvc/config.local").exists():
        shutil.copy(checkout / ".dvc/config.local", root / ".dvc")
    share_cache(root, cache_folder(checkout))
    Paths(root).scratch.mkdir(parents=True)
    for stage in resumed:
        shared = Paths(checkout).scratch / stage
        shared.mkdir(exist_ok=True)
        (Paths(root).scratch / stage).symlink_to(shared)


def _say_what_travels(checkout: Path) -> None:
    edited = git(["diff", "--name-only", "HEAD"], checkout).split("\n")
    if carried := [file for file in edited if file and file != "dvc.lock"]:
        get_run_logger().info(f"uncommitted edits are part of this run and its experiment: {', '.join(carried)}")
    unknown = git(["ls-files", "--others", "--exclude-standard"], checkout).split("\n")
    if left := [file for file in unknown if file and file != "dvc.lock"]:
        get_run_logger().info(f"files unknown to git are not part of this run: {', '.join(left)}; `git add` them if so")


def _run(command: list[str], folder: Path, given: str | None = None, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, cwd=folder, env={**child_environment(), **(environment or {})}, input=given, capture_output=True,
        encoding="utf-8", errors="surrogateescape", check=False,
    )  # fmt: skip
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise UserError(f"`{' '.join(command)}` failed in {folder}: {said}")
    return done.stdout
