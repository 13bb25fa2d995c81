"""Run a stage as a child run on another work pool, so that a GPU is held only while a stage needs it.

The state of the workspace travels through git (clone.py), data through DVC's remote.
"""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Cancelling

from gptcore.errors import UserError
from tasks.process.away import unless_away
from tasks.workspace.clone import handed_over, take_back

if TYPE_CHECKING:
    from tasks.workspace.workspace import Workspace

POLL_SECONDS, PARENT_POLL_SECONDS = 2.0, 10.0
RAISED = re.compile(r"^Flow run encountered an exception: (\w+: )?")


def check_pool(pool: str, has_remote: bool) -> None:
    """Raise UserError if a stage cannot run on `pool`; called before anything starts."""
    if not has_remote:
        raise UserError(f"gpu_pool={pool}: data travels there through a DVC remote; name one by `dvc remote add -d`")
    with get_client(sync_client=True) as client:
        try:
            client.read_deployment_by_name(f"run-stage/{pool}")
        except ObjectNotFound:
            what = f"there is no deployment run-stage/{pool}; `make deploy POOLS={pool}` brings those of gptcore"
            raise UserError(f"gpu_pool={pool}: {what}") from None


def run_elsewhere(stage: str, workspace: "Workspace", pool: str) -> FlowRun:
    """Run `stage` on `pool` and return the finished child run, which is cancelled if this run is."""
    name = f"{flow_run.name}-{stage}"
    with handed_over(workspace.root, name) as reference:
        parameters = {"stage": stage, "reference": reference}
        child = run_deployment(f"run-stage/{pool}", parameters=parameters, flow_run_name=name, timeout=0)
        assert isinstance(child, FlowRun)  # no coroutine, as no event loop runs here
        get_run_logger().info(f"runs on pool {pool} as {name}")
        try:
            return _wait(child.id)
        except BaseException:
            with unless_away():
                _cancel(child.id)
            raise


@contextmanager
def watching_parent(root: Path, reference: str) -> Iterator[None]:
    """In a child run: if the parent was killed, cancel this run and clean up in the parent's place."""
    ended = threading.Event()
    if parent := flow_run.parent_flow_run_id:
        what = (UUID(parent), UUID(flow_run.id), root, reference, ended)
        threading.Thread(target=_watch, args=what, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def said(child: FlowRun) -> str:
    """The message of its final state."""
    assert child.state
    return RAISED.sub("", child.state.message or str(child.state.name))


def _wait(child: UUID) -> FlowRun:
    with get_client(sync_client=True) as client:
        while True:
            with unless_away():
                found = client.read_flow_run(child)
                if found.state and found.state.is_final():
                    return found
            time.sleep(POLL_SECONDS)


def _watch(parent: UUID, child: UUID, root: Path, reference: str, ended: threading.Event) -> None:
    while not ended.wait(PARENT_POLL_SECONDS):
        with unless_away():
            if _has_ended(parent):
                _cancel(child)
                ended.set()
                take_back(root, reference)


def _has_ended(run: UUID) -> bool:
    """A run that somebody has deleted has ended too: nobody waits for its children."""
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(run).state
        except ObjectNotFound:
            return True
    return bool(state and state.is_final())


def _cancel(child: UUID) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(child, Cancelling(message="the run that asked for it has ended"))
