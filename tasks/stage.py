"""A DVC stage as a Prefect task: DVC's verdict becomes the task's state, the stage's output becomes its log."""

import time
from pathlib import Path
from typing import Any

from prefect import Task, get_run_logger
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.tasks import exponential_backoff

from gptcore.errors import MISTAKE_EXIT_CODE, STOPPED_EXIT_CODE, UNAVAILABLE_EXIT_CODE, Unavailable, UserError
from gptcore.registry.address import tracking_uri
from gptcore.training.state_store import clear_state_stores
from tasks.dvc.probe import Verdict
from tasks.process.child_run import run_elsewhere, said
from tasks.process.group import run_group
from tasks.show import Output, publish, summary
from tasks.stop import stoppable
from tasks.workspace.locks import turn
from tasks.workspace.slots import slot
from tasks.workspace.workspace import Workspace

UP_TO_DATE, RESTORED = "up to date", "restored from run-cache"
KILLED = (-9, 137)  # as subprocess and as a shell report it


class StageFailed(UserError):
    """The stage cannot succeed until someone fixes what the message says: not worth a retry."""


class StageCrashed(UserError):
    """The stage ended without saying why (killed, out of memory, a bug): a retry resumes from its last checkpoint."""


def is_worth_a_retry(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Must be a plain function: given a partial, Prefect silently never retries."""
    return isinstance(state.data, StageCrashed | Unavailable)


# Prefect's own result cache does not check files, so DVC stays the only cache. Retries come after about 10, 20 and
# 40 s, with jitter, so that tasks hit by the same server failure do not retry at the same moment.
STAGE: dict[str, Any] = {
    "cache_policy": NO_CACHE, "retries": 3, "retry_delay_seconds": exponential_backoff(10), "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_worth_a_retry,
}  # fmt: skip


@stoppable
def reproduce(stage: str, workspace: Workspace, wants_gpu: bool = False) -> State[None]:
    """Bring `stage` up to date; the state is `Cached` unless it ran. Raises StageFailed, StageCrashed, Unavailable.

    If it `wants_gpu` and the run has a pool with GPUs, it runs there; whether it must run at all is decided here.
    """
    before = workspace.verdict(stage)
    if not before.why:
        return Completed(name="Cached", message=UP_TO_DATE)
    if workspace.restore(stage, before.key):
        return Completed(name="Cached", message=RESTORED)
    if wants_gpu and workspace.gpu_pool:
        return _elsewhere(stage, workspace, workspace.gpu_pool, before)
    with turn(workspace.checkout, before.key or workspace.root.name) as waited:
        if waited and workspace.restore(stage, before.key):
            return Completed(name="Cached", message=RESTORED)
        with slot(stage):
            return _run(stage, workspace, before)


def _run(stage: str, workspace: Workspace, before: Verdict) -> State[None]:
    started = time.monotonic()
    output = Output(stage, before.why)
    finished = workspace.paths.scratch / f"finished-{stage}"
    settings = {
        "GPTCORE_FINISHED_STATES": str(finished), "GPTCORE_RUN_NAME": flow_run.name or "",
        "MLFLOW_TRACKING_URI": tracking_uri(workspace.checkout), **workspace.settings,
    }  # fmt: skip
    with workspace.held(stage) as command:
        code = run_group(["/bin/sh", "-c", command], workspace.root, output.line, settings)
    check(stage, code, output.lines)
    after = workspace.record(stage, before.key)
    if after.key != before.key:
        changed = _changed(before.inputs, after.inputs)
        raise StageFailed(f"{stage}: {changed} changed while it ran, so its result was not recorded; run it again")
    _clear(finished)
    publish(stage, before, after, workspace.metrics(stage))
    return Completed(message=f"ran in {time.monotonic() - started:.0f} s: {summary(before.why)}")


def _elsewhere(stage: str, workspace: Workspace, pool: str, before: Verdict) -> State[None]:
    child = run_elsewhere(stage, workspace, pool)
    assert child.state
    if child.state.is_crashed():
        raise StageCrashed(f"{stage}: the run {child.name} on pool {pool} is lost: {said(child)}")
    if not child.state.is_completed():
        raise StageFailed(f"{said(child)} (run {child.name} on pool {pool})")
    if not workspace.restore(stage, before.key):
        raise StageFailed(
            f"{stage}: the run {child.name} on pool {pool} has made it, but it is not in this checkout's DVC remote; "
            "let both have the same remote"
        )
    return Completed(message=f"ran on pool {pool} as {child.name}")


def check(stage: str, code: int, lines: list[str]) -> None:
    """Turn the stage's exit code and output into one error line for the user."""
    if code == 0:
        return
    if code in (MISTAKE_EXIT_CODE, UNAVAILABLE_EXIT_CODE):
        said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        kind = StageFailed if code == MISTAKE_EXIT_CODE else Unavailable
        raise kind(said[-1] if said else f"{stage} ended with code {code}")
    if code == STOPPED_EXIT_CODE:
        raise StageFailed(f"{stage} was asked to stop; run it again and it goes on from its checkpoint")
    killed = " (killed, perhaps for want of memory)" if code in KILLED else ""
    raise StageCrashed(f"{stage} ended with code {code}{killed}")


def _clear(finished: Path) -> None:
    """Remove the training's resume state, now that its result is recorded: before that, a kill would lose it all."""
    if not finished.exists():
        return
    try:
        clear_state_stores(finished)
    except (OSError, UserError) as error:
        get_run_logger().warning(f"the resume state of this training could not be removed: {error}")


def _changed(before: dict[str, Any], after: dict[str, Any]) -> str:
    return ", ".join(sorted(path for path in before | after if before.get(path) != after.get(path))) or "its input"
