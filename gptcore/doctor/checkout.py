"""The folder: its git repository and whom its commits name, params.yaml, DVC's remote."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from gptcore.addresses import redacted
from gptcore.config.presets import compose
from gptcore.doctor.finding import Finding
from gptcore.errors import UserError

REMOTE_SECONDS = 8.0
IDENTITY = "`git config --global user.name NAME`, `user.email` likewise"


def git(checkout: Path) -> Iterator[Finding]:
    """DVC needs a repository, and its experiments an author."""
    if not shutil.which("git"):
        yield Finding("git", "missing", "there is no program git", "install it with the system's packages")
        return
    code, said = _ask(checkout, "git", "rev-parse", "--short", "HEAD")
    if code:
        remedy = "clone gptcore with git, or run `git init` here and commit what is there"
        yield Finding("git", "missing", f"{checkout} has no commit: {said}", remedy)
        return
    yield Finding("git", "ok", f"commit {said}")
    # DVC takes no name that git makes up from the machine's
    code, said = _ask(checkout, "git", "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT")
    if code:
        yield Finding("identity", "missing", "git has no name and email for the commits of experiments", IDENTITY)
    else:
        yield Finding("identity", "ok", f"{said.rpartition('>')[0]}>")


def params(checkout: Path) -> Finding:
    try:
        compose([], checkout / "params.yaml")
    except UserError as error:
        return Finding("params.yaml", "missing", str(error), "`gptcore configure model=nano` resets it")
    return Finding("params.yaml", "ok", "valid")


def remote(checkout: Path) -> Finding:
    """Whether DVC's default remote answers, as DVC's own program says."""
    if find_spec("dvc") is None:
        return Finding("DVC remote", "missing", "DVC is not installed beside gptcore", "install the locks")
    dvc = (sys.executable, "-m", "dvc")  # that of this environment, activated or not
    try:
        code, name = _ask(checkout, *dvc, "config", "core.remote")
        if not code and not name:
            remedy = "docs/versions.md says how to add one"
            return Finding("DVC remote", "ok", "none; results stay on this machine", remedy)
        code, said = _ask(checkout, *dvc, "list-url", f"remote://{name}") if not code else (code, name)
    except subprocess.TimeoutExpired:
        remedy = "`dvc remote list` has its address; a push would wait for it"
        return Finding("DVC remote", "note", f"no answer within {REMOTE_SECONDS:.0f} s", remedy)
    if "does not exist" in said:
        remedy = "`dvc push --run-cache` fills it, or says what is wrong"
        return Finding("DVC remote", "note", f"there is nothing at {name} yet", remedy)
    if code:
        return Finding("DVC remote", "note", f"{name}: {said}", "docs/versions.md has what it needs")
    return Finding("DVC remote", "ok", f"{name} answers")


def _ask(folder: Path, *command: str) -> tuple[int, str]:
    """The exit code of a program, and the first line that it prints."""
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=REMOTE_SECONDS,
    )  # fmt: skip
    first = (done.stdout or done.stderr).strip().partition("\n")[0]
    return done.returncode, redacted(first.removeprefix("ERROR: ").removeprefix("fatal: "))
