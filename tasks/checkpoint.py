"""One checkpoint is measured, and its point logged in MLflow, unless it is there already."""

from collections.abc import Callable
from pathlib import Path

from prefect import task
from prefect.client.schemas.objects import State
from prefect.states import Completed

from gptcore.registry.address import tracking_uri
from tasks.stage import STAGE
from tasks.stop import stoppable
from tasks.workspace.locks import turn

Figures = dict[str, float]
Points = dict[int, Figures]


@task(name="evaluate-checkpoint", task_run_name="step {step}", **STAGE)
@stoppable
def evaluate_checkpoint(
    step: int, figures: Callable[[], Figures], name: str, asked: dict[str, str], models: dict[int, str], checkout: Path
) -> State[Points]:
    """Call `figures` and log what it returns; the other arguments are those of `Evaluations`. Returns all points.

    Retried when the registry does not answer.
    """
    from gptcore.registry.evaluations import Evaluations
    from gptcore.registry.tracking import opened

    with turn(checkout, "evaluate-checkpoints"), opened(tracking_uri(checkout), checkout / "mlartifacts") as registry:
        logged = Evaluations(registry, name, asked, models)
        points = logged.points()
        if step in points:
            return Completed(name="Cached", message=f"step {step:,} is in MLflow run {logged.run} already", data=points)
        logged.add(step, figures())
        return Completed(message=f"step {step:,} is in MLflow run {logged.run} now", data=logged.points())
