"""The stage `baseline`."""

from prefect import task
from prefect.client.schemas.objects import State

from tasks.stage import STAGE, reproduce
from tasks.workspace.workspace import Workspace


@task(name="baseline", task_run_name="baseline", **STAGE)
def baseline(workspace: Workspace) -> State[None]:
    """Train nanoGPT's recipe on the same tokens; a retry resumes from its last checkpoint."""
    return reproduce("baseline", workspace, wants_gpu=True)
