"""The parameters of a run that may still go on."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from flows.choices import with_fields
from gptcore.addresses import redacted
from gptcore.config.params import read_params
from gptcore.config.paths import Paths
from gptcore.config.presets import compose, flatten
from gptcore.errors import UserError
from lab.read.prefect import Run
from tasks.workspace.workspace import plain_name


def overrides(run: Run) -> list[str]:
    """Those that were given, and those that fields of Prefect's own form stand for."""
    given = run.parameters.get("overrides")
    known = [str(each) for each in given] if isinstance(given, list) else []
    with suppress(UserError):  # the run has failed for the same reason
        return with_fields(known, run.parameters)
    return known


def asked(run: Run) -> str:
    """What a run makes, in a line: its overrides, or the version that it makes again."""
    if "version" in run.parameters:
        return f"version {run.parameters['version']} again, to compare the two"
    return " ".join(map(redacted, overrides(run))) or "params.yaml as it is"


def of_run(run: Run, known: Mapping[str, Mapping[str, Any]], checkout: Path) -> Mapping[str, Any]:
    """Flat: of its experiment among the `known`, of its workspace, or as its overrides make them of params.yaml."""
    name = plain_name(run.name)
    if name in known:
        return known[name]
    file = Paths(checkout).scratch / "workspaces" / name / "params.yaml"
    with suppress(UserError):
        return flatten(read_params(file) if file.is_file() else compose(overrides(run), checkout / "params.yaml"))
    return {}
