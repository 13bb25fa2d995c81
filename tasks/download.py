"""The stage `download`."""

from prefect import task
from prefect.client.schemas.objects import State

from tasks.stage import STAGE, reproduce
from tasks.workspace.workspace import Workspace


@task(name="download", task_run_name="download", **STAGE)
def download(workspace: Workspace) -> State[None]:
    """Fetch the corpus and verify it."""
    return reproduce("download", workspace)
