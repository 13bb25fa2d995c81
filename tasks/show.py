"""A stage in Prefect's UI: its output as log, its progress, why it ran and what it made."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from gptcore.addresses import redacted
from tasks.dvc.probe import Verdict

ARTIFACT_EVERY_SECONDS = 5.0
PROGRESS = re.compile(r"^[\w ]+? +(\d+)% \|")  # as gptcore.progress writes it


@contextmanager
def harmless() -> Iterator[None]:
    """Log a warning instead of failing when the server is away or restarting: training matters more than its page."""
    try:
        yield
    except Exception as error:  # of httpx, Prefect or the operating system, and they differ by version
        said = redacted(str(error)) or type(error).__name__
        get_run_logger().warning("the Prefect server did not take an artifact: %s", said)


def tag_run(overrides: list[str]) -> None:
    """Tag this flow run with its overrides, to read and filter by in the list of runs."""
    with harmless(), get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, tags={*flow_run.tags, *map(redacted, overrides)})


class Output:
    """Send a stage's lines to the task's log, and their percentage to a progress artifact."""

    def __init__(self, stage: str, why: tuple[str, ...]) -> None:
        self.stage, self.lines = stage, list[str]()
        self.log = get_run_logger()
        self.log.info("to do: %s", summary(why))
        self.artifact: Any = None
        self.sent = -ARTIFACT_EVERY_SECONDS

    def line(self, line: str) -> None:
        line = redacted(line)  # of a traceback, whose author did not think of secrets
        self.lines.append(line)
        if not line:
            return
        self.log.info(line.removeprefix(f"{self.stage} ").lstrip())  # the log line already names the stage
        if match := PROGRESS.match(line):
            self._progress(float(match[1]), line)

    def _progress(self, percent: float, line: str) -> None:
        if time.monotonic() - self.sent < ARTIFACT_EVERY_SECONDS and percent < 100:
            return
        self.sent = time.monotonic()
        said = described(re.sub(r"\|(.*?)\|", _bar, line))
        with harmless():
            if self.artifact is None:
                self.artifact = create_progress_artifact(percent, key=f"{self.stage}-progress", description=said)
            else:
                update_progress_artifact(self.artifact, percent, description=said)


def described(what: str) -> str:
    """The description of an artifact: the page of its key, which all runs share, shows only this."""
    return f"{flow_run.name}: {what}"


def _bar(line: re.Match[str]) -> str:
    """The bar of a line, half as long, for a proportional font: the UI's page of a progress artifact draws none."""
    cells = line[1][::2]
    return "█" * len(cells.rstrip()) + "░" * (len(cells) - len(cells.rstrip()))


def summary(why: tuple[str, ...]) -> str:
    """The first two reasons and how many more there are."""
    more = f" and {len(why) - 2} more" if len(why) > 2 else ""
    return f"{', '.join(why[:2])}{more}"


def publish(stage: str, before: Verdict, after: Verdict, metrics: Mapping[str, Any]) -> None:
    """Publish the stage's page in the UI: why it ran, its metrics and outputs, its key in DVC's run-cache."""
    reasons = "\n".join(f"- `{reason}`" for reason in before.why)
    figures = "\n".join(f"| {name} | {_figure(value)} |" for name, value in metrics.items())
    outputs = "\n".join(f"| `{path}` | `{value}` |" for path, value in after.outputs.items())
    with harmless():
        create_markdown_artifact(
            key=stage,
            description=described(f"why {stage} ran, and what it made"),
            markdown=f"**It ran because**\n\n{reasons}\n\n| metric | value |\n|:---|---:|\n{figures}\n\n"
            f"| output | content (MD5) |\n|:---|:---|\n{outputs}\n\n"
            f"Stage key `{after.key}`: the same key is restored from DVC's cache instead of running again.\n",
        )


def _figure(value: Any) -> str:
    return f"{value:,.6g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
