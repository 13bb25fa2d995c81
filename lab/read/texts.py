"""Texts that a training has sampled."""

import re
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from gptcore.config.paths import Paths
from gptcore.errors import UserError
from lab.read.curves import training
from tasks.dvc.experiments import Experiment

if TYPE_CHECKING:
    from gptcore.registry.tracking import Registry

FOLDER = "samples"  # of the artifacts of a run; gptcore/tracking/mlflow.py logs them there
SAMPLES = "data/model/samples.md"


def heard(registry: "Registry", run: str) -> list[tuple[str, str]]:
    """Those that MLflow has of a training that goes on."""
    found = training(registry, run)
    files = registry.client.list_artifacts(found, FOLDER) if found else []
    return [(_title(each.path), _text(registry, found, each.path)) for each in files]


def _title(path: str) -> str:
    """`samples/step-000000134.txt` as Step 134."""
    return f"Step {int(Path(path).stem.rpartition('-')[2]):,}"


def _text(registry: "Registry", run: str, path: str) -> str:
    with TemporaryDirectory(prefix="gptcore-") as folder:
        return Path(registry.client.download_artifacts(run, path, folder)).read_text(encoding="utf-8")


def samples(checkout: Path, run: str, experiment: Experiment | None) -> list[tuple[str, str]]:
    """Title and text of each, of the workspace of a run that goes on, or of its experiment."""
    from tasks.runs import cached

    files = [Paths(checkout).scratch / "workspaces" / run / SAMPLES]
    with suppress(UserError, KeyError):
        files += [cached(experiment, SAMPLES, checkout)] if experiment else []
    for file in files:
        with suppress(OSError):
            return re.findall(r"## (.*?)\n\n```text\n(.*?)\n```\n", file.read_text(encoding="utf-8"), re.DOTALL)
    return []
