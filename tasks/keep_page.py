"""The step `keep_page`: the report of a version becomes an artifact of its MLflow run."""

from pathlib import Path

from prefect import task
from prefect.client.schemas.objects import State
from prefect.states import Completed

from gptcore.registry.address import tracking_uri
from tasks.promote import Promotion
from tasks.stage import STAGE
from tasks.stop import stoppable
from tasks.workspace.workspace import Workspace


@task(name="keep-page", task_run_name="keep-page", **STAGE)
@stoppable
def keep_page(workspace: Workspace, promotion: Promotion, page: Path) -> State[None]:
    """Log the page with the version's run, in the place of an earlier one. Retried when the registry is away."""
    from gptcore.registry.tracking import opened

    with opened(tracking_uri(workspace.checkout), workspace.checkout / "mlartifacts") as registry:
        registry.note(registry.version(promotion.version), page.name, page.read_text(encoding="utf-8"))
    return Completed(message=f"{page.name} is with gpt version {promotion.version}")
