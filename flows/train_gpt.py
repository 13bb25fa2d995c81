"""The main job: fetch, tokenize, train, compare with nanoGPT, promote. `python -m flows.train_gpt --help`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.choices import DataPreset, ModelPreset, OptimPreset, with_fields
from flows.report import report
from gptcore.config.params import Seed
from gptcore.registry.address import check_place
from gptcore.training.config import Steps
from tasks.baseline import baseline
from tasks.download import download
from tasks.evaluate import evaluate
from tasks.gate import check_tasks, read_gate
from tasks.process.child_run import check_pool
from tasks.promote import promote
from tasks.push import push
from tasks.show import tag_run
from tasks.stage import UP_TO_DATE
from tasks.start import start
from tasks.stop import unless_stopped
from tasks.tokenize import tokenize
from tasks.train import train
from tasks.workspace.workspace import is_deployed, open_workspace

GpuPool = Literal["gpu", "gpu-docker", "gpu-kubernetes"]
STAGES = {  # each with those whose outputs it reads, as in dvc.yaml: the edges of Prefect's graph of a run
    download: (),
    start: (),
    tokenize: (download, start),
    train: (start, tokenize),
    baseline: (start, tokenize),
    evaluate: (start, tokenize, train, baseline),
}


@flow(name="train-gpt")
def train_gpt(
    overrides: Sequence[str] = (),
    model: ModelPreset = "params.yaml",
    data: DataPreset = "params.yaml",
    optim: OptimPreset = "params.yaml",
    steps: Steps | None = None,
    seed: Seed | None = None,
    promotion: bool = True,
    gpu_pool: GpuPool | None = None,
) -> str:
    """Train a GPT, compare it with nanoGPT's recipe and promote it if it is better; only outdated stages run.

    Returns the report of the run, in Markdown. The state of the run says whether the model was promoted, and why.

    Args:
        overrides: Changes to params.yaml for this run alone, such as `train.steps=200` or `model=baby`. With overrides,
            or when started from a deployment, the run gets its own workspace; otherwise it works in the checkout.
        model: A preset of sizes, as the override `model=baby` gives it. A preset composes everything anew from presets;
            with `params.yaml` here and below, all is as in that file.
        data: A preset of a corpus.
        optim: A preset of an optimizer and its schedule.
        steps: The override `train.steps=...`; None is as in params.yaml.
        seed: The override `train.seed=...`; likewise.
        promotion: Whether to register the model, which may then become champion.
        gpu_pool: A work pool with GPUs for `train` and `baseline`, if they must run; the other stages run here. Data
            travels through the DVC remote.
    """
    if promotion:
        check_place(Path.cwd())
    given = {"model": model, "data": data, "optim": optim, "steps": steps, "seed": seed}
    changes = with_fields(list(overrides), given)
    tag_run(changes)
    is_apart = is_deployed() or gpu_pool is not None
    with open_workspace(changes, is_apart) as workspace:
        if gpu_pool:
            check_pool(gpu_pool, workspace.has_remote)
            workspace.gpu_pool = gpu_pool
        if promotion:
            read_gate(workspace.paths.params)  # a mistake in it is told before hours of training
        check_tasks(workspace.paths.params)
        states: dict[str, State[None]] = {}
        for stage, inputs in STAGES.items():
            state = unless_stopped(stage(workspace, wait_for=[states[each.name] for each in inputs]))
            states[stage.name] = state
            if workspace.has_remote and (gpu_pool or state.message != UP_TO_DATE):
                unless_stopped(push(stage.name, workspace, wait_for=[state]))
        experiment = workspace.save_experiment(flow_run.name)
        if promotion:
            outcome = unless_stopped(promote(workspace, experiment, wait_for=[states["evaluate"]]))
        else:
            outcome = Completed(message="Not promoted: not asked for.")
        told = report(workspace, states, outcome, experiment)
    return cast(str, Completed(message=outcome.message, data=told))  # Prefect gives callers the data


if __name__ == "__main__":
    from flows.terminal import main

    main(train_gpt)
