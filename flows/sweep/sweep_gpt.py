"""Many runs of train-gpt side by side; the best is promoted. `python -m flows.sweep --help`."""

from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from pydantic import Field

from flows.sweep.grid import choose
from flows.sweep.report import Outcome, rank, report
from flows.sweep.runs import Order, find_deployment, run_all, said_by
from gptcore.config.paths import Paths
from gptcore.errors import UserError
from tasks.dvc.experiments import find


@flow(name="sweep-gpt")
def sweep_gpt(
    grid: dict[str, list[Any]],
    samples: Annotated[int, Field(ge=1)] | None = None,
    seed: int = 0,
    at_once: Annotated[int, Field(ge=1)] = 2,
    deployment: str = "train-gpt/train-local",
) -> str:
    """Train with every combination of some values, rank the models by bits per byte, promote the best if it is better.

    Each combination is a run of train-gpt in its own workspace. A combination that has already run with this commit and
    code does not run again, so an interrupted sweep can be restarted and runs only the rest. Returns the ranking.

    Args:
        grid: Values to try of each parameter or preset: `{"optim.matrix_learning_rate": [0.01, 0.02], "model": ["nano",
            "baby"]}` makes four runs.
        samples: How many combinations to draw at random; by default all are run.
        seed: The seed for drawing samples.
        at_once: How many run at the same time, if the workers take as many.
        deployment: The deployment to run, which determines where the runs execute.
    """
    checkout = Path.cwd()
    members = choose(grid, samples, seed, Paths(checkout).params)
    known = find([member.params for member in members], checkout)
    missing = [number for number, found in enumerate(known) if found is None]
    get_run_logger().info("%d runs, of which %d are there already", len(members), len(members) - len(missing))
    with get_client(sync_client=True) as client:
        target = find_deployment(client, deployment)
        orders = [Order(f"{flow_run.name}-{n + 1}", members[n].overrides, promotion=False) for n in missing]
        runs = dict(zip(missing, run_all(client, target, orders, at_once), strict=True))
        measured = find([member.params for member in members], checkout)
        outcomes = rank([Outcome(members[n], measured[n], runs.get(n)) for n in range(len(members))])
        best = outcomes[0]
        if best.experiment is None:
            raise UserError(f"none of the sweep's {len(members)} runs ended well; the first: {best.message}")
        # everything is cached by now; the same name keeps it a single experiment
        (last,) = run_all(client, target, [Order(best.experiment.name, best.member.overrides, promotion=True)], 1)
        return report(outcomes, said_by(client, last, "promote"))
