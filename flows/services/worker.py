"""A worker that stops gracefully: `python -m flows.services.worker cpu`, `make worker`.

Prefect's own worker, when stopped, kills its runs and leaves them Running. This one lets them write a checkpoint and
returns them to the queue, on Ctrl-C and when a spot machine is reclaimed.
"""

import argparse
import signal
import subprocess
import sys
import time
from typing import IO
from uuid import UUID

import psutil
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import temporary_settings
from prefect.states import AwaitingRetry

from flows.services.deploy import POOLS, connected
from flows.terminal import end_with, running_server
from gptcore.config.environment import check_environment
from gptcore.errors import UserError
from tasks.process.group import child_environment
from tasks.workspace.slots import slots

GRACE_SECONDS = 28.0  # a spot machine has 30; tasks/process/group.py gives a trainer 25 of them


class Worker:
    """`prefect worker start` on `pool`, in its own session, so that Ctrl-C in a terminal reaches only this process.

    It runs `limit` runs at once, by default as many as this machine has slots; those of `control` only wait for others.
    """

    def __init__(
        self, pool: str, environment: dict[str, str], limit: int | None = None, log: IO[bytes] | None = None
    ) -> None:
        limit = limit or (None if pool == "control" else slots())
        self.environment = {**child_environment(), **environment}
        if limit and limit > 1:  # runs that share the cores: see gptcore/stages/__init__.py
            self.environment.setdefault("GOMP_SPINCOUNT", "1000")
        command = [sys.executable, "-m", "prefect", "--no-prompt", "worker", "start", "--pool", pool]
        command += ["--limit", str(limit)] if limit else []
        self.process = subprocess.Popen(
            command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )

    def stop(self) -> None:
        """Let its runs write a checkpoint, wait for them, and return them to the queue."""
        if self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGSTOP)  # or it would take them again, and mark them Crashed
        runs = self._runs()
        for process in runs:
            process.terminate()
        give_up = time.monotonic() + GRACE_SECONDS
        while any(map(_is_alive, runs)) and time.monotonic() < give_up:
            time.sleep(0.05)
        self.process.send_signal(signal.SIGCONT)
        if runs:
            self.process.kill()
            with get_client(sync_client=True) as client:
                for run in runs.values():
                    state = client.read_flow_run(run).state
                    if state and (state.is_crashed() or not state.is_final()):
                        client.set_flow_run_state(run, AwaitingRetry(message="Its worker was stopped"), force=True)
        else:
            self.process.terminate()
        self.process.wait()

    def _runs(self) -> dict[psutil.Process, UUID]:
        """Its flow runs on this machine; runs in containers and pods do not need the worker."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            if run := child.environ().get("PREFECT__FLOW_RUN_ID"):
                found[child] = UUID(run)
        return found


def _is_alive(process: psutil.Process) -> bool:
    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)


def _require(pool: str) -> None:
    """Raises UserError if the server does not have it: Prefect's worker would make one without our template."""
    with connected() as client:
        try:
            client.read_work_pool(pool)
        except ObjectNotFound:
            raise UserError(f"the server has no work pool {pool}; `make deploy POOLS={pool}` brings it") from None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.services.worker", description="Take runs from a work pool.")
    parser.add_argument("pool", choices=POOLS)
    parser.add_argument("--limit", type=int, metavar="N", help="how many runs at once; by default GPTCORE_SLOTS, or 1")
    arguments = parser.parse_args()
    check_environment()
    for number in (signal.SIGINT, signal.SIGTERM):  # background jobs of a script ignore SIGINT by default
        signal.signal(number, signal.default_int_handler)
    with temporary_settings(running_server()) as settings:
        _require(arguments.pool)
        worker = Worker(arguments.pool, settings.to_environment_variables(exclude_unset=True), arguments.limit)
        try:
            sys.exit(worker.process.wait())
        except KeyboardInterrupt:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            worker.stop()


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        end_with(error)
