"""What a version is made of, and who made it: its tags as links, each with the command that shows or restores it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING

from gptcore.errors import UserError

if TYPE_CHECKING:  # 2 s of imports
    from gptcore.registry.tracking import Version

OF_RUNS = ("flow_run_id", "flow_run_name", "dvc_experiment")  # tags that name a version as its number does
SHORTEST_COMMIT = 4  # as in git


@dataclass(frozen=True)
class Link:
    """`command` is to be typed in the checkout; `name` is what it shows: an id or a hash."""

    what: str
    name: str
    command: str


def title(version: "Version", aliases: Sequence[str]) -> str:
    return f"gpt version {', '.join((str(version.number), *aliases))}"


def named(versions: "Sequence[tuple[Version, tuple[str, ...]]]", reference: str) -> "tuple[Version, tuple[str, ...]]":
    """The version, with its aliases, that a number, an alias, a run, an experiment or a commit names.

    Raises UserError if it is none of them, or names several.
    """
    bare = re.sub(r"^(models:/)?gpt[@/]", "", reference)
    direct = [each for each in versions if bare in (str(each[0].number), *each[1])]
    found = direct or [each for each in versions if _is_of(each[0], reference)]
    if len(found) == 1:
        return found[0]
    numbers = ", ".join(str(version.number) for version, _ in found or versions) or "none"
    if found:
        raise UserError(f"{reference} has made several versions of gpt: {numbers}; name one by its number")
    kinds = "no version, alias, MLflow run, flow run, DVC experiment or commit that the registry knows"
    raise UserError(f"{reference} is {kinds}; versions of gpt: {numbers}")


def _is_of(version: "Version", reference: str) -> bool:
    if reference in (version.run_id, *(version.tags.get(name) for name in OF_RUNS)):
        return True
    commit = version.tags.get("git_commit", "")
    return len(reference) >= SHORTEST_COMMIT and commit.startswith(reference.lower())


def links(version: "Version", is_embedded: bool) -> Iterator[Link]:
    """From the model to its code and data. A tag that the version does not have has no link.

    `is_embedded`: whether the registry is the checkout's own, of which MLflow's commands must be told.
    """
    mlflow = "MLFLOW_TRACKING_URI=sqlite:///mlflow.db mlflow" if is_embedded else "mlflow"
    tags, place = version.tags, f"data/exported/gpt-{version.number}"
    files = f"--artifact-uri models:/gpt/{version.number}/artifacts/export --dst-path {place}"
    yield Link("model", tags.get("model_sha256", ""), f"{mlflow} artifacts download {files}")
    yield Link("MLflow run", version.run_id, f"{mlflow} runs describe --run-id {quote(version.run_id)}")
    if (start := tags.get("start", "")).startswith("models:/gpt/"):
        yield Link("start", start, f"gptcore lineage {quote(start)}")
    if verdict := tags.get("verdict"):
        yield Link("verdict", verdict, f"gptcore registry judge {version.number}")
    if run := tags.get("flow_run_id"):
        yield Link("Prefect flow run", run, f"prefect flow-run inspect {quote(run)}")
    if commit := tags.get("git_commit"):
        yield Link("git commit", commit, f"git show {quote(commit)}")
    if experiment := tags.get("dvc_experiment"):
        yield Link("DVC experiment", experiment, f"dvc exp apply {quote(experiment)}")
    for path, md5 in outputs(version):
        out = quote(f"{place}/{path}")
        get = f"dvc get . {quote(path)} --rev {quote(experiment)} --out {out}" if experiment else ""
        yield Link(path, md5, get or f"ls -l .dvc/cache/files/md5/{md5[:2]}/{md5[2:]}")
    for stage, key in _group(tags, "stage_key."):
        yield Link(f"stage {stage}", key, f"cat .dvc/cache/runs/{key[:2]}/{key}/*")


def outputs(version: "Version") -> list[tuple[str, str]]:
    """Path and hash of everything that its stages have made, as DVC names them."""
    return _group(version.tags, "data.")


def _group(tags: dict[str, str], prefix: str) -> list[tuple[str, str]]:
    return sorted((name.removeprefix(prefix), value) for name, value in tags.items() if name.startswith(prefix))
