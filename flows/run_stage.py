"""One stage on another work pool, started by train-gpt with `gpu_pool`."""

from prefect import flow

from tasks.baseline import baseline
from tasks.process.child_run import watching_parent
from tasks.push import push
from tasks.stop import unless_stopped
from tasks.train import train
from tasks.workspace.workspace import open_handed_over

STAGES = {"train": train, "baseline": baseline}


@flow(name="run-stage")
def run_stage(stage: str, reference: str) -> str:
    """Run a stage of another run's workspace and push its outputs, for that run to fetch.

    Args:
        stage: `train` or `baseline`.
        reference: The git reference to which that run pushed its workspace.
    """
    with open_handed_over(reference) as workspace, watching_parent(workspace.root, reference):
        workspace.fetch_inputs(stage)
        state = unless_stopped(STAGES[stage](workspace))
        unless_stopped(push(stage, workspace, wait_for=[state]))
        return str(state.message)
