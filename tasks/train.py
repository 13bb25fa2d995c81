"""The stage `train`."""

from prefect import task
from prefect.client.schemas.objects import State

from tasks.stage import STAGE, reproduce
from tasks.workspace.workspace import Workspace


@task(name="train", task_run_name="train", **STAGE)
def train(workspace: Workspace) -> State[None]:
    """Train the model; a retry resumes from its last checkpoint."""
    return reproduce("train", workspace, wants_gpu=True)
