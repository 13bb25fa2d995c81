"""The commit that a version was made from, in this repository or in the one that it was cloned from."""

from pathlib import Path

from gptcore.errors import UserError
from tasks.workspace.clone import git

EXPERIMENTS = "refs/exps/"


def commit_of(checkout: Path, experiment: str | None, commit: str) -> str:
    """The DVC experiment's commit, or `commit` of a version that has none; fetched from origin if it is not here.

    Raises UserError if it is gone.
    """
    if experiment is None:
        return _here(checkout, commit) or _fetched(checkout, commit, f"the git commit {commit}")
    listed = git(["for-each-ref", "--format=%(objectname) %(refname)", EXPERIMENTS], checkout)
    if found := _named(listed, experiment, commit):
        return found[0]
    known = _named(git(["ls-remote", "origin"], checkout), experiment, commit) if _has_origin(checkout) else None
    if not known:
        where = (
            "here or at the git remote origin" if _has_origin(checkout) else "here, and there is no git remote origin"
        )
        raise UserError(f"the DVC experiment {experiment} of commit {commit} is not {where}; it is gone, or elsewhere")
    return _fetched(checkout, known[1], f"the DVC experiment {experiment}")


def _named(listed: str, experiment: str, commit: str) -> tuple[str, str] | None:
    """The object and reference of an experiment: refs/exps/<2 digits of its parent>/<38 digits>/<name>."""
    wanted = f"{EXPERIMENTS}{commit[:2]}/{commit[2:]}/{experiment}"
    rows = (line.split() for line in listed.splitlines())
    return next(((each[0], each[1]) for each in rows if each[1:] == [wanted]), None)


def _here(checkout: Path, commit: str) -> str | None:
    listed = git(["rev-list", "--no-walk", "--ignore-missing", f"{commit}^{{commit}}"], checkout)
    return listed or None


def _fetched(checkout: Path, reference: str, what: str) -> str:
    if not _has_origin(checkout):
        raise UserError(f"{what} is not here, and there is no git remote origin")
    try:
        git(["fetch", "--quiet", "origin", reference], checkout)
    except UserError as error:
        raise UserError(f"{what} is not here, and origin does not give it: {error}") from None
    return git(["rev-parse", "FETCH_HEAD"], checkout)


def _has_origin(checkout: Path) -> bool:
    return "origin" in git(["remote"], checkout).split("\n")
