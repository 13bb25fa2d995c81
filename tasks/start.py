"""The stage `start`."""

from prefect import task
from prefect.client.schemas.objects import State

from tasks.stage import STAGE, reproduce
from tasks.workspace.workspace import Workspace


@task(name="start", task_run_name="start", **STAGE)
def start(workspace: Workspace) -> State[None]:
    """Bring the model that the training goes on from, and the text it must not forget; nothing if it begins anew."""
    return reproduce("start", workspace)
