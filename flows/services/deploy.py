"""Work pools, deployments and automations on the Prefect server: `make deploy`. A second run changes nothing."""

import argparse
import os
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.automations import AutomationCore
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.types import SecretDict
from pydantic import SecretStr
from ruamel.yaml import YAML

from flows.services.repository import settle_repository
from flows.terminal import check_server, end_with, running_server
from gptcore.config.environment import check_environment
from gptcore.errors import UserError, known_names

FOLDER = Path(__file__).parents[2] / "deployments"
POOLS = tuple(sorted(path.stem for path in (FOLDER / "pools").glob("*.yaml")))
EVERYWHERE = ("cpu", "control")  # the pools that any machine can serve: others would stay Not Ready on a laptop
SERVING = "GPTCORE_SERVING"


def deploy(more: Collection[str] = ()) -> Iterator[str]:
    """Update the server from deployments/; yields a line for each object. Raises UserError.

    Of the pools, with their deployments, those that every machine can serve, `more` and what the server has already.
    """
    for name in more:
        if name not in POOLS:
            raise UserError(f"there is no work pool {name}{known_names(name, POOLS)}")
    with connected() as client:
        there = {pool.name for pool in client.read_work_pools()}
        pools = [each for each in POOLS if each in {*EVERYWHERE, *more, *there}]
        for name in pools:
            yield f"work pool {name}: {_pool(client, name, _read(FOLDER / 'pools' / f'{name}.yaml'))}"
        if left := [each for each in POOLS if each not in pools]:
            yield f"left out: {', '.join(left)}; `make deploy POOLS={left[0]}` adds one"
        switched_on = _switched_on(client)
        address, credentials = settle_repository()
        yield f"repository {address or 'none'}: {credentials}"
        yield from _deployments(address, pools)
        _switch_on(client, switched_on)
        yield from _automations(client)


@contextmanager
def connected() -> Iterator[SyncPrefectClient]:
    """A client of the server. Raises UserError if none answers, or not to this user."""
    if not PREFECT_API_URL.value():
        raise UserError("no Prefect server is up on this machine; start one with `make ui`, or set PREFECT_API_URL")
    check_server()
    with get_client(sync_client=True) as client:
        yield client


def _read(file: Path) -> Any:
    return YAML(typ="safe").load(file)


def _pool(client: SyncPrefectClient, name: str, wanted: dict[str, Any]) -> str:
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=name, **wanted))
        return "new"
    update = WorkPoolUpdate(description=wanted["description"], base_job_template=wanted["base_job_template"])
    if (pool.description, pool.base_job_template) == (update.description, update.base_job_template):
        return "unchanged"
    client.update_work_pool(name, update)
    return "updated"


def _switched_on(client: SyncPrefectClient) -> set[tuple[UUID, str | None]]:
    """The active schedules, with their deployments: deploying again would switch them off."""
    return {(deployment.id, each.slug) for deployment in client.read_deployments() for each in deployment.schedules
            if each.active}  # fmt: skip


def _switch_on(client: SyncPrefectClient, schedules: set[tuple[UUID, str | None]]) -> None:
    for deployment in client.read_deployments():
        for each in deployment.schedules:
            if (deployment.id, each.slug) in schedules and not each.active:
                client.update_deployment_schedule(deployment.id, each.id, active=True)


def _deployments(repository: str, pools: Collection[str]) -> Iterator[str]:
    """Run Prefect's own command, which handles schedules, parameters and pull steps."""
    wanted = [each for each in _read(FOLDER / "prefect.yaml")["deployments"] if each["work_pool"]["name"] in pools]
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--prefect-file", "prefect.yaml"]
    for name in {each["name"]: None for each in wanted}:
        command += ["--name", name]
    environment = {**os.environ, "GPTCORE_REPOSITORY": repository, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    done = subprocess.run(command, cwd=FOLDER, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"`{' '.join(command[1:])}` failed: {' '.join((done.stdout + done.stderr).split())}")
    for deployment in wanted:
        flow = deployment["entrypoint"].split(".")[-1].replace("_", "-")
        yield f"deployment {flow}/{deployment['name']} on work pool {deployment['work_pool']['name']}"


def _automations(client: SyncPrefectClient) -> Iterator[str]:
    for wanted in _read(FOLDER / "automations.yaml"):
        unset = [variable for action in wanted["actions"] if (variable := _settle(action))]
        if unset:
            yield f"automation {wanted['name']}: not without {unset[0]}"
        else:
            yield f"automation {wanted['name']}: {_automation(client, AutomationCore.model_validate(wanted))}"


def _settle(action: dict[str, Any]) -> str:
    """Give an action its webhook. Returns the variable that should hold its address, if it is not set."""
    variable = action.pop("webhook", "")
    if variable and not os.environ.get(variable):
        return str(variable)
    if variable:
        action["block_document_id"] = _webhook(variable)
    return ""


def _webhook(variable: str) -> UUID:
    """The block of a webhook. Of our own server it is the route that hastens it, with its key."""
    name, address = "gptcore", os.environ[variable]
    headers = {"Content-Type": "application/json"}
    if variable == SERVING:
        name, address = "gptcore-serving", f"{address.rstrip('/')}/follow"
        if key := os.environ.get(f"{SERVING}_KEY"):
            headers["Authorization"] = f"Bearer {key}"
    saved = Webhook(url=SecretStr(address), headers=SecretDict(headers)).save(name, overwrite=True)
    assert isinstance(saved, UUID)
    return saved


def _automation(client: SyncPrefectClient, wanted: AutomationCore) -> str:
    found = client.read_automations_by_name(wanted.name)
    if not found:
        client.create_automation(wanted)
        return "new"
    if _meaning(found[0]) == _meaning(wanted):
        return "unchanged"
    client.update_automation(found[0].id, wanted)
    return "updated"


def _meaning(automation: AutomationCore) -> dict[str, Any]:
    return automation.model_dump(include={"description", "enabled", "trigger", "actions"}, exclude={"trigger": {"id"}})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.services.deploy", description=__doc__)
    what = (
        f"further work pools, with their deployments: of {', '.join(each for each in POOLS if each not in EVERYWHERE)}"
    )
    parser.add_argument("pools", nargs="*", metavar="pool", help=what)
    pools = parser.parse_args().pools
    check_environment()
    with temporary_settings(running_server()):
        for line in deploy(pools):
            print(line, flush=True)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        end_with(error)
