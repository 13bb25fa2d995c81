"""Texts that a training has sampled."""

import re
from contextlib import suppress
from pathlib import Path

from gptcore.config.paths import Paths
from gptcore.errors import UserError
from tasks.dvc.experiments import Experiment

SAMPLES = "data/model/samples.md"


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
