"""The main job: fetch, tokenize, train, compare with nanoGPT, promote. `python -m flows.train_gpt --help`."""

from collections.abc import Sequence

from prefect import flow
from prefect.runtime import flow_run

from flows.report import report
from tasks.baseline import baseline
from tasks.download import download
from tasks.evaluate import evaluate
from tasks.promote import promote
from tasks.show import tag_run
from tasks.tokenize import tokenize
from tasks.train import train
from tasks.workspace import open_workspace

STAGES = (download, tokenize, train, baseline, evaluate)


@flow(name="train-gpt")
def train_gpt(overrides: Sequence[str] = ()) -> str:
    """Train a GPT, compare it with nanoGPT's recipe and promote it if it is better; what is up to date does not run.

    Returns the report of the run, in Markdown.

    Args:
        overrides: Changes to params.yaml for this run alone, such as `train.steps=200` or `model=baby`. With any, the
            run gets a workspace of its own; without, it works in the checkout.
    """
    tag_run(list(overrides))
    with open_workspace(list(overrides), flow_run.name) as workspace:
        states = {stage.name: stage(workspace) for stage in STAGES}
        experiment = workspace.save_experiment(flow_run.name)
        promotion = promote(workspace, experiment)
        return report(workspace, states, promotion, experiment)


if __name__ == "__main__":
    from flows.terminal import main

    main(train_gpt)
