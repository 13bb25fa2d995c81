"""The step `push`: what a stage has made goes into DVC's remote, so that other machines find it."""

from prefect import get_run_logger, task

from tasks.dvc.remote import push as push_stage
from tasks.stage import STAGE
from tasks.workspace.workspace import Workspace


@task(name="push", task_run_name="push {stage}", **STAGE)
def push(stage: str, workspace: Workspace) -> None:
    """Retried when the remote does not answer; a missing bucket or credentials are one line, at once."""
    sent = push_stage(workspace.root, stage)
    get_run_logger().info(f"{sent} new objects of {stage} are in the remote" if sent else "the remote has it all")
