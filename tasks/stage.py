"""A DVC stage as a Prefect task: DVC's verdict becomes the task's state, the stage's output its log."""

import re
import time
from typing import Any

from prefect import Task, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.states import Completed

from gptcore.errors import MISTAKE_EXIT_CODE, STOPPED_EXIT_CODE, UserError
from tasks.probe import Verdict
from tasks.process import run_group
from tasks.workspace import Workspace

ARTIFACT_EVERY_SECONDS = 5.0
EXITED = re.compile(r"^ERROR: failed to reproduce .*, exited with (-?\d+)$")
PROGRESS = re.compile(r"^[\w ]+? +(\d+)% \|")  # as gptcore.progress writes it
BOOKKEEPING = re.compile(r"^(Generating|Updating) lock file ")  # after it come only DVC's hints about git
KILLED = (-9, 137)  # as subprocess says it, and as a shell does


class StageFailed(UserError):
    """The stage cannot succeed until someone mends what the message says: not worth a retry."""


class StageCrashed(UserError):
    """The stage ended without saying why (killed, out of memory, a bug): a retry goes on from its last checkpoint."""


def is_worth_a_retry(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Prefect calls this only if it is a plain function; for a partial it would silently never retry."""
    return isinstance(state.data, StageCrashed)


# Prefect's own result cache would check nothing about files, so DVC stays the only cache
STAGE: dict[str, Any] = {
    "cache_policy": NO_CACHE, "retries": 2, "retry_delay_seconds": 5, "retry_condition_fn": is_worth_a_retry,
}  # fmt: skip


def reproduce(stage: str, workspace: Workspace) -> State[None]:
    """Bring `stage` up to date; the state is `Cached` unless it ran. Raises StageFailed, StageCrashed."""
    before = workspace.verdicts[stage]
    if not before.why:
        return Completed(name="Cached", message="up to date")
    started = time.monotonic()
    lock = workspace.lock_file.read_bytes() if workspace.lock_file.exists() else None
    output = _Output(stage)
    code = run_group(workspace.repro_command(stage), workspace.root, output.line)
    _check(stage, code, output.lines)
    workspace.refresh()
    if f"Running stage '{stage}':" not in output.lines:
        return Completed(name="Cached", message="restored from run-cache")
    after = workspace.verdicts[stage]
    if after.inputs != before.inputs:  # DVC would bind the new code to what the old code made (treeverse/dvc#11058)
        _forget(workspace, lock)
        changed = _changed(before.inputs, after.inputs)
        raise StageFailed(f"{stage}: {changed} changed while it ran, so its result was not recorded; run it again")
    workspace.record(stage)
    _publish(stage, before, workspace)
    return Completed(message=f"ran in {time.monotonic() - started:.0f} s")


class _Output:
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


def _check(stage: str, code: int, lines: list[str]) -> None:
    """Turn what DVC and the stage said into the one line that tells the user."""
    if code == 0:
        return
    exits = [int(match[1]) for line in lines if (match := EXITED.match(line))]
    if not exits:
        said = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
        raise StageFailed(f"{stage}: {'; '.join(said) or f'dvc ended with code {code}'}")
    if exits[-1] == MISTAKE_EXIT_CODE:
        said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        raise StageFailed(said[-1] if said else f"{stage} ended with code {MISTAKE_EXIT_CODE}")
    if exits[-1] == STOPPED_EXIT_CODE:
        raise StageFailed(f"{stage} was asked to stop; run it again and it goes on from its checkpoint")
    killed = " (killed, perhaps for want of memory)" if exits[-1] in KILLED else ""
    raise StageCrashed(f"{stage} ended with code {exits[-1]}{killed}")


def _changed(before: dict[str, Any], after: dict[str, Any]) -> str:
    return ", ".join(sorted(path for path in before | after if before.get(path) != after.get(path)))


def _forget(workspace: Workspace, lock: bytes | None) -> None:
    if lock is None:
        workspace.lock_file.unlink(missing_ok=True)
    else:
        workspace.lock_file.write_bytes(lock)
    workspace.refresh()


def _publish(stage: str, before: Verdict, workspace: Workspace) -> None:
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
