"""Work pools, deployments and automations on the Prefect server: `make deploy`. Run twice it changes nothing."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound
from ruamel.yaml import YAML

FOLDER = Path(__file__).parent.parent / "deployments"


def deploy() -> Iterator[str]:
    """Bring the server up to date with deployments/; yields a line for each thing."""
    with get_client(sync_client=True) as client:
        for file in sorted((FOLDER / "pools").glob("*.yaml")):
            yield f"work pool {file.stem}: {_pool(client, file.stem, YAML(typ='safe').load(file))}"
    yield from _deployments()


def _pool(client: SyncPrefectClient, name: str, wanted: dict[str, Any]) -> str:
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=name, **wanted))
        return "made"
    update = WorkPoolUpdate(description=wanted["description"], base_job_template=wanted["base_job_template"])
    if pool.description == update.description and pool.base_job_template == update.base_job_template:
        return "as it was"
    client.update_work_pool(name, update)
    return "updated"


def _deployments() -> Iterator[str]:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", "prefect.yaml"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    yield "deployments: done"


if __name__ == "__main__":
    for line in deploy():
        print(line, flush=True)
