"""The stage `tokenize`."""

from prefect import task
from prefect.client.schemas.objects import State

from tasks.stage import STAGE, reproduce
from tasks.workspace.workspace import Workspace


@task(name="tokenize", task_run_name="tokenize", **STAGE)
def tokenize(workspace: Workspace) -> State[None]:
    """Split the documents, train the tokenizer, write the token files."""
    return reproduce("tokenize", workspace)
