"""`make deploy` and what it creates on a real server."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

import pytest
from prefect.automations import AutomationCore
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.events import emit_event
from prefect.exceptions import PrefectHTTPStatusError
from prefect.flows import flow
from prefect.runner.storage import GitRepository
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_API_PORT, temporary_settings
from prefect.states import Failed, Pending, Running
from prefect.utilities.templating import resolve_block_document_references

from flows.services.deploy import deploy, main
from flows.services.repository import BLOCK, GitCredentials, settle_repository
from gptcore.errors import UserError
from tests.support import scratch
from tests.support.cluster import Cluster, free_port
from tests.support.webhook import Webhook, webhook

DEPLOYMENTS = (
    "train-gpt/train-local", "train-gpt/train-gpu", "train-gpt/train-docker", "train-gpt/train-kubernetes",
    "run-stage/gpu", "run-stage/gpu-docker", "run-stage/gpu-kubernetes",
    "sweep-gpt/sweep-local", "refresh-data/refresh-local", "rollback-gpt/rollback-local",
    "rebuild-gpt/rebuild-local", "evaluate-checkpoints/checkpoints-local", "complete-prompts/complete-local",
)  # fmt: skip
POOLS = ("cpu", "gpu", "gpu-docker", "gpu-kubernetes", "control")
NOTIFIED = ("notify of failure", "notify of promotion", "hasten the server")  # automations that need an address
REPOSITORY, SECRET = "git.example.org/a/b.git", "swordfish%2F"


def ids(cluster: Cluster) -> dict[str, object]:
    with cluster.client() as client:
        deployments = {name: client.read_deployment_by_name(name) for name in DEPLOYMENTS}
        automations = {each.name: each.id for each in client.read_automations()}
        pools = {name: client.read_work_pool(name).id for name in POOLS}
    schedules = {name: [each.id for each in deployment.schedules] for name, deployment in deployments.items()}
    return {**{name: deployment.id for name, deployment in deployments.items()}, **pools, **automations, **schedules}


class Again(NamedTuple):
    """What a second `make deploy` has said, the ids before it, and the webhook that it has brought."""

    said: list[str]
    before: dict[str, object]
    webhook: Webhook


@pytest.fixture(scope="module")
def again(cluster: Cluster) -> Iterator[Again]:
    """Deployed again, onto what somebody has changed, with a webhook and a repository that asks for a password."""
    with webhook() as receiver:
        with cluster.client() as client:
            before, pool = ids(cluster), client.read_work_pool("gpu")
            client.update_work_pool("gpu", WorkPoolUpdate(description="by hand", base_job_template={}))
            refresh = client.read_deployment_by_name("refresh-data/refresh-local")
            client.update_deployment_schedule(refresh.id, refresh.schedules[0].id, active=True)
            given = dict.fromkeys(("GPTCORE_WEBHOOK", "GPTCORE_SERVING"), receiver.address)
            given |= {"GPTCORE_SERVING_KEY": "sk-1", "GPTCORE_REPOSITORY": f"https://me:{SECRET}@{REPOSITORY}"}
            with pytest.MonkeyPatch.context() as monkeypatch, temporary_settings({PREFECT_API_URL: cluster.address}):
                for name, value in {**cluster.environment, **given}.items():
                    monkeypatch.setenv(name, value)
                said = list(deploy())
            assert client.read_work_pool("gpu").base_job_template == pool.base_job_template
            (schedule,) = client.read_deployment_by_name("refresh-data/refresh-local").schedules
            assert schedule.active, "what somebody has switched on stays on"
            client.update_deployment_schedule(refresh.id, schedule.id, active=False)
        yield Again(said, before, receiver)
        with cluster.client() as client:
            for name in NOTIFIED:
                client.delete_automation(client.read_automations_by_name(name)[0].id)


def test_deploying_again_changes_nothing_but_what_differs(cluster: Cluster, again: Again) -> None:
    assert "work pool gpu: updated" in again.said
    assert all(
        "unchanged" in line
        for line in again.said
        if line.startswith(("work pool", "automation l", "automation r")) and "gpu: " not in line
    )
    after = ids(cluster)
    assert {name: each for name, each in after.items() if name not in NOTIFIED} == again.before
    assert after.keys() - again.before.keys() == set(NOTIFIED)


def test_schedules_wait_to_be_switched_on(cluster: Cluster) -> None:
    with cluster.client() as client:
        schedules = [each for name in DEPLOYMENTS for each in client.read_deployment_by_name(name).schedules]
    assert [each.slug for each in schedules] == ["nightly"] * 3
    assert not any(each.active for each in schedules)


def test_the_server_refuses_a_preset_that_does_not_exist(cluster: Cluster) -> None:
    with cluster.client() as client:
        train = client.read_deployment_by_name("train-gpt/train-local").id
        with pytest.raises(PrefectHTTPStatusError, match="huge"):
            client.create_flow_run_from_deployment(train, parameters={"model": "huge"})


LISTS = (
    "deployments",
    "block_documents",
    "block_types",
    "block_schemas",
    "work_pools",
    "automations",
    "flows",
    "events",
)


@pytest.mark.usefixtures("server")
def test_the_password_of_the_repository_is_in_no_answer(cluster: Cluster, again: Again) -> None:
    assert any(
        line.startswith(f"repository https://{REPOSITORY}: its credentials are in the block gptcore-git-")
        for line in again.said
    )
    with cluster.client() as client:
        answers = {each: client.request("POST", f"/{each}/filter", json={}).text for each in LISTS}
        deployment = client.read_deployment_by_name("train-gpt/train-docker")
    assert f"https://{REPOSITORY}" in answers["deployments"]
    assert [each for each, answer in {**answers, "said": str(again.said)}.items() if "swordfish" in answer] == []
    assert [each for each in cluster.home.rglob("*") if each.is_file() and b"swordfish" in each.read_bytes()] == []

    assert deployment.job_variables == {"env": {"GPTCORE_REPOSITORY": f"https://{REPOSITORY}"}}
    (step,) = deployment.pull_steps or []
    (inputs,) = asyncio.run(resolve_block_document_references([*step.values()]))  # as in the run
    clone = GitRepository(inputs["repository"], inputs["credentials"])
    assert clone._repository_url_with_credentials == f"https://me:{SECRET}@{REPOSITORY}"


@pytest.mark.usefixtures("server")
def test_credentials_are_kept_for_their_repository_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def settled(address: str) -> tuple[str, dict[str, str]]:
        monkeypatch.setenv("GPTCORE_REPOSITORY", address)
        address, _ = settle_repository()
        block = GitCredentials.load(BLOCK)
        assert isinstance(block, GitCredentials)
        return address, block.value.get_secret_value()

    here, there = "https://example.org/a.git", "https://example.com/a.git"
    kept = {"access_token": "hunter2", "repository": here}
    assert settled("https://hunter2@example.org/a.git") == (here, kept)
    assert settled(here) == (here, kept)
    assert settled(there) == (there, {})
    assert settled(here) == (here, {})


def test_without_a_server_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["deploy"])
    address, port = f"http://127.0.0.1:{free_port()}/api", free_port()
    with (
        temporary_settings({PREFECT_API_URL: address}),
        pytest.raises(UserError, match=f"^no Prefect server answers at {address}: .*; `make ui` starts one .*$"),
    ):
        main()
    with (
        temporary_settings({PREFECT_SERVER_API_PORT: port}, restore_defaults=[PREFECT_API_URL]),
        pytest.raises(UserError, match=r"^no Prefect server is up on this machine; .*$"),
    ):
        main()


@pytest.mark.usefixtures("server")
def test_webhook_hears_of_failures_and_promotions_and_the_server_is_hastened(cluster: Cluster, again: Again) -> None:
    again.webhook.texts.clear()  # of what other tests have done
    again.webhook.posted.clear()
    with cluster.client() as client:
        run = client.create_flow_run(flow(lambda: None, name="train-gpt"), name="swift-otter", state=Running())
        client.set_flow_run_state(run.id, Failed(message='13 steps bring "bad luck"'))
    model = {"prefect.resource.id": "gptcore.model.gpt", "prefect.resource.name": "gpt version 2"}
    emit_event("gptcore.model.promoted", model, payload={"because": "it won"})
    scratch.wait_until(lambda: len(again.webhook.texts) == 2 and bool(again.webhook.posted))
    assert set(again.webhook.texts) == {
        'train-gpt swift-otter Failed: 13 steps bring "bad luck"',
        "gpt version 2 is the new champion: it won",
    }
    assert again.webhook.posted == [("/follow", "Bearer sk-1")]


@pytest.fixture
def impatient(cluster: Cluster) -> Iterator[None]:
    """The automations wait for 10 s, Prefect's minimum, instead of minutes."""
    with cluster.client() as client:
        found = {each.id: AutomationCore(**each.model_dump(exclude={"id", "owner_resource"}))
                 for each in client.read_automations() if each.name not in NOTIFIED}  # fmt: skip
        for number, automation in found.items():
            hasty = automation.model_copy(deep=True)
            hasty.trigger.within = timedelta(seconds=10)
            client.update_automation(number, hasty)
        yield
        for number, automation in found.items():
            client.update_automation(number, automation)


@pytest.mark.usefixtures("impatient", "server")
def test_lost_run_has_crashed_and_run_that_never_started_is_back_in_the_queue(cluster: Cluster) -> None:
    with cluster.client() as client:
        lost = client.create_flow_run(flow(lambda: None, name="train-gpt"), state=Running()).id
        emit_event("prefect.flow-run.heartbeat", {"prefect.resource.id": f"prefect.flow-run.{lost}"})
        taken = cluster.submit("train-gpt/train-local")
        client.set_flow_run_state(taken, Pending())  # like a worker that dies after taking the run
    found = cluster.wait(lost, "Crashed").state
    assert found
    assert "No heartbeat" in str(found.message)
    cluster.wait(taken, "Scheduled")  # from where the next worker takes it
    with cluster.client() as client:
        client.delete_flow_run(taken)
