"""One stage on a pool of its own, started by train-gpt with `gpu_pool`."""

from prefect import flow

from tasks.baseline import baseline
from tasks.process.child_run import watching_parent
from tasks.push import push
from tasks.train import train
from tasks.workspace.workspace import open_handed_over

STAGES = {"train": train, "baseline": baseline}


@flow(name="run-stage")
def run_stage(stage: str, reference: str) -> str:
    """Run a stage of another run's workspace and push what it made, for that run to fetch.

    Args:
        stage: `train` or `baseline`.
        reference: The reference in the git repository by which that run has handed its workspace over.
    """
    with open_handed_over(reference) as workspace, watching_parent(workspace.root, reference):
        workspace.fetch_inputs(stage)
        state = STAGES[stage](workspace)
        push(stage, workspace)
        return str(state.message)
