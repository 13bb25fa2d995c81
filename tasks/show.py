"""What people see of a stage in Prefect's UI: its output as log, its progress, why it ran and what it made."""

import re
import time
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact

from tasks.probe import Verdict
from tasks.workspace import Workspace

ARTIFACT_EVERY_SECONDS = 5.0
PROGRESS = re.compile(r"^[\w ]+? +(\d+)% \|")  # as gptcore.progress writes it
BOOKKEEPING = re.compile(r"^(Generating|Updating) lock file ")  # after it come only DVC's hints about git


class Output:
    """The lines of a stage: into the task's log, their percentage into a progress artifact."""

    def __init__(self, stage: str) -> None:
        self.stage, self.lines = stage, list[str]()
        self.log = get_run_logger()
        self.artifact: Any = None
        self.sent = -ARTIFACT_EVERY_SECONDS
        self.talking = True

    def line(self, line: str) -> None:
        self.lines.append(line)
        self.talking = self.talking and not BOOKKEEPING.match(line)
        if not self.talking or not line or line.startswith(("Running stage ", "> ", "ERROR: failed to reproduce")):
            return
        self.log.info(line.removeprefix(f"{self.stage} ").lstrip())  # the log says the stage's name itself
        if match := PROGRESS.match(line):
            self._progress(float(match[1]), line)

    def _progress(self, percent: float, line: str) -> None:
        if self.artifact is None:
            self.artifact = create_progress_artifact(percent, key=f"{self.stage}-progress", description=line)
        elif time.monotonic() - self.sent >= ARTIFACT_EVERY_SECONDS or percent == 100:
            update_progress_artifact(self.artifact, percent, description=line)
        else:
            return
        self.sent = time.monotonic()


def publish(stage: str, before: Verdict, workspace: Workspace) -> None:
    """The stage's page in the UI: which key it made, why it ran, what came out."""
    reasons = "\n".join(f"- {reason}" for reason in before.why)
    metrics = workspace.metrics(stage)
    table = "\n".join(f"| {name} | {value} |" for name, value in metrics.items())
    create_markdown_artifact(
        key=stage,
        description=f"What {stage} made, and why it ran",
        markdown=f"**Stage key** `{workspace.verdicts[stage].key}`\n\n**It ran because**\n{reasons}\n\n"
        f"| metric | value |\n|---|---|\n{table}\n",
    )
