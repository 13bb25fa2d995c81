"""The stage `evaluate`."""

from prefect import task
from prefect.client.schemas.objects import State

from tasks.stage import STAGE, reproduce
from tasks.workspace.workspace import Workspace


@task(name="evaluate", task_run_name="evaluate", **STAGE)
def evaluate(workspace: Workspace) -> State[None]:
    """Compare both models on every validation token."""
    return reproduce("evaluate", workspace)
