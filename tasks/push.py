"""The step `push`: push a stage's outputs to DVC's remote, for other machines to fetch."""

from prefect import get_run_logger, task

from tasks.dvc.remote import push as push_stage
from tasks.stage import STAGE
from tasks.stop import stoppable
from tasks.workspace.workspace import Workspace


@task(name="push", task_run_name="push {stage}", **STAGE)
@stoppable
def push(stage: str, workspace: Workspace) -> None:
    """Retry when the remote does not answer; fail at once, with one line, on a missing bucket or credentials."""
    sent = push_stage(workspace.root, stage)
    get_run_logger().info(f"{sent} new objects of {stage} are in the remote" if sent else "the remote has it all")
