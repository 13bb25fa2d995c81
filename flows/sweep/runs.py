"""Run a deployment many times, a few runs at once, and collect the results."""

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType, WorkerStatus
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Cancelling

from gptcore.errors import UserError
from tasks.process.away import unless_away

POLL_SECONDS = 1.0
UNFINISHED = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]


@dataclass(frozen=True)
class Order:
    """A run of train-gpt to start."""

    name: str
    overrides: list[str]
    promotion: bool


def find_deployment(client: SyncPrefectClient, name: str) -> DeploymentResponse:
    """The deployment `flow/name`. Raises UserError if there is none, or no worker to run it."""
    if name.count("/") != 1:
        raise UserError(f"{name} is no deployment, which is flow/name, such as train-gpt/train-local")
    try:
        found = client.read_deployment_by_name(name)
    except ObjectNotFound:
        raise UserError(f"the Prefect server has no deployment {name}; `make deploy` brings those of gptcore") from None
    pool = found.work_pool_name
    if pool and not any(each.status == WorkerStatus.ONLINE for each in client.read_workers_for_work_pool(pool)):
        raise UserError(f"no worker takes runs of {name}; start one: prefect worker start --pool {pool}")
    return found


def run_all(
    client: SyncPrefectClient, deployment: DeploymentResponse, orders: list[Order], at_once: int
) -> list[FlowRun]:
    """Run every order, `at_once` at a time; returns the finished runs, successful or not, in the order of `orders`.

    If another run of the same order is still unfinished, waits for that one instead. When interrupted, cancels the
    runs in progress that this flow run has started.
    """
    waiting, running, ended = list(orders), dict[UUID, Order](), dict[str, FlowRun]()
    own = set[UUID]()
    try:
        while waiting or running:
            with unless_away():
                while waiting and len(running) < at_once:
                    run = _under_way(client, deployment, waiting[0]) or _start(deployment, waiting[0])
                    running[run.id] = waiting.pop(0)
                    if flow_run.name in run.tags:
                        own.add(run.id)
                for run in _ended(client, list(running)):
                    ended[running.pop(run.id).name] = run
                    get_run_logger().info("%s: %s, %d to go", run.name, run.state_name, len(waiting) + len(running))
            time.sleep(POLL_SECONDS)
    except BaseException:
        for run_id in own & running.keys():
            with suppress(ObjectNotFound), unless_away():
                client.set_flow_run_state(run_id, Cancelling())
        raise
    return [ended[order.name] for order in orders]


def said_by(client: SyncPrefectClient, run: FlowRun, task: str) -> str:
    """The message of the final state of `task` in `run`, or of the run if it did not get that far."""
    wanted = TaskRunFilter(name=TaskRunFilterName(any_=[task]))
    found = client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])), task_run_filter=wanted
    )
    state = found[0].state if found else run.state
    return str(state.message) if state else ""


def _ended(client: SyncPrefectClient, asked: list[UUID]) -> list[FlowRun]:
    """Those of the runs that have ended. Raises UserError if one is not there any more."""
    found = client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=asked)))
    for run_id in set(asked) - {run.id for run in found}:
        try:
            found.append(client.read_flow_run(run_id))
        except ObjectNotFound:
            raise UserError(f"the run {run_id} was deleted; start the sweep again for what is missing") from None
    return [run for run in found if run.state and run.state.is_final()]


def _start(deployment: DeploymentResponse, order: Order) -> FlowRun:
    parameters = {"overrides": order.overrides, "promotion": order.promotion}
    made = run_deployment(
        deployment.id, parameters=parameters, flow_run_name=order.name, tags=[flow_run.name], timeout=0
    )
    return cast(FlowRun, made)  # typed as possibly a coroutine


def _under_way(client: SyncPrefectClient, deployment: DeploymentResponse, order: Order) -> FlowRun | None:
    runs = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNFINISHED))),
    )
    same = _set({**deployment.parameters, "overrides": order.overrides, "promotion": order.promotion})
    return next((run for run in runs if _set(run.parameters) == same), None)


def _set(parameters: dict[str, Any]) -> dict[str, Any]:
    """Those that somebody has set: a form sends all of its fields."""
    return {name: value for name, value in parameters.items() if value not in (None, "params.yaml")}
