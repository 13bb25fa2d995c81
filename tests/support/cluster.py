"""A private Prefect server and process workers, as `make ui` starts them, for running deployments."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from copy import copy
from pathlib import Path
from sqlite3 import connect
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_CLIENT_RETRY_EXTRA_CODES,
    temporary_settings,
)

from tasks.process.group import child_environment
from tests.support import scratch
from tests.support.faulty_proxy import Fault, Plan, faulty_proxy
from tests.support.once import alone
from tests.support.patience import PATIENCE

# what a server looks for every five seconds: nothing that a test waits for
RARELY = ("LATE_RUNS_LOOP", "PAUSE_EXPIRATIONS_LOOP", "CLEANUP_RECONCILER_LOOP", "SCHEDULER_RECENT_DEPLOYMENTS_LOOP")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Cluster:
    """The server of `make ui` with the pools and deployments of deployments/; `environment` points programs to it."""

    def __init__(self, home: Path, settings: dict[str, str] | None = None) -> None:
        self.home, self.port = home, free_port()
        self.address = f"http://127.0.0.1:{self.port}/api"
        self.environment = {
            **child_environment(),
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": self.address,
            "PREFECT_SERVER_API_PORT": str(self.port),
            "PREFECT_WORKER_QUERY_SECONDS": "0.5",
            **{f"PREFECT_SERVER_SERVICES_{name}_SECONDS": "60" for name in RARELY},
            "PYTHONPATH": str(scratch.CHECKOUT),
            "MLFLOW_TRACKING_URI": "",  # MLflow sets it in a test process
            **(settings or {}),
        }

    def start(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.server = self.launch(self.home, "flows.services.server", log="server.log")
        scratch.wait_until(self.is_up)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        end(self.server, number)

    def is_up(self) -> bool:
        assert self.server.poll() is None, (self.home / "server.log").read_text()
        try:
            with urlopen(f"{self.address}/health", timeout=5) as answer:
                return bool(answer.read() == b"true")
        except (URLError, OSError):
            return False

    def launch(self, folder: Path, module: str, *words: str, log: str) -> "subprocess.Popen[bytes]":
        """Run `python -m MODULE WORDS` in `folder` in a new process group, with output to `log` in the home folder."""
        with (self.home / log).open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", module, *words], cwd=folder, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def twin(self, home: Path) -> "Cluster":
        """Another cluster in `home`, not started yet, with everything deployed: migrations take 10 s."""
        home.mkdir(parents=True)
        copy_database(self.home / "prefect.db", home / "prefect.db")
        return Cluster(home)

    @contextmanager
    def launched(self, folder: Path, module: str, *words: str, log: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Like `launch`; the process ends with the block."""
        process = self.launch(folder, module, *words, log=log)
        try:
            yield process
        finally:
            end(process, signal.SIGTERM)

    def on_host(self, home: Path, settings: dict[str, str]) -> "Cluster":
        """This cluster, as seen from another machine with its own home folder and settings."""
        other = copy(self)
        other.home = home
        private = {"PREFECT_HOME": "prefect", "DVC_GLOBAL_CONFIG_DIR": "dvc", "DVC_SITE_CACHE_DIR": "dvc-site"}
        other.environment = {
            **self.environment,
            **{name: str(home / each) for name, each in private.items()},
            **settings,
        }
        home.mkdir(parents=True)
        return other

    deploy_command = (sys.executable, "-m", "flows.services.deploy")

    def deploy(self, *pools: str) -> str:
        return self.command(scratch.CHECKOUT, *self.deploy_command, *pools)

    def command(self, folder: Path, *command: str, code: int = 0) -> str:
        """Run `command` in `folder` against this server and return its output; it must exit with `code`."""
        done = subprocess.run(
            command, cwd=folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout
        return done.stdout

    @contextmanager
    def worker(self, folder: Path, pool: str = "cpu", limit: int = 1) -> Iterator["subprocess.Popen[bytes]"]:
        """Start a worker in `folder`, where its runs work. It is ready to take runs and ends with the block."""
        name = f"{pool}-{time.monotonic_ns()}"
        words = ("--no-prompt", "worker", "start", "--pool", pool, "--limit", str(limit), "--name", name)
        with self.launched(folder, "prefect", *words, log="worker.log") as process:
            scratch.wait_until(lambda: name in self._workers(pool))
            yield process

    def _workers(self, pool: str) -> list[str]:
        with self.client() as client:
            return [worker.name for worker in client.read_workers_for_work_pool(pool)]

    def empty_queues(self) -> None:
        """Delete the runs that earlier tests have left there: the next worker would take them."""
        queued = FlowRunFilterStateType(any_=[StateType.SCHEDULED, StateType.PENDING])
        with self.client() as client:
            for run in client.read_flow_runs(flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=queued))):
                client.delete_flow_run(run.id)

    @contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        with temporary_settings({PREFECT_API_URL: self.address}), get_client(sync_client=True) as client:
            yield client

    @contextmanager
    def failing(self, fault: Fault, pattern: str) -> Iterator[Plan]:
        """Clients of this process reach the server through a proxy that fails the first request that matches."""
        with faulty_proxy(self.address.removesuffix("/api")) as (address, plan):
            plan.set(fault, pattern, times=1)
            at_once = {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_CLIENT_RETRY_EXTRA_CODES: ""}
            with temporary_settings({PREFECT_API_URL: f"{address}/api", **at_once}):
                yield plan

    def submit(self, deployment: str, **parameters: Any) -> UUID:
        """Submit a run of `deployment`, like `prefect deployment run`, and return its id."""
        with self.client() as client:
            found = client.read_deployment_by_name(deployment)
            return client.create_flow_run_from_deployment(found.id, parameters=parameters).id

    def flow_run(self, run: UUID) -> FlowRun:
        with self.client() as client:
            return client.read_flow_run(run)

    def state(self, run: UUID) -> str:
        """The name of the run's current state: `Running`, `Completed`, ..."""
        state = self.flow_run(run).state
        assert state
        return str(state.name)

    def wait(self, run: UUID, *names: str, seconds: float = PATIENCE) -> FlowRun:
        """Wait until the run's state is one of `names` (default: any final state)."""
        give_up = time.monotonic() + seconds
        with self.client() as client:
            while True:
                found = client.read_flow_run(run)
                assert found.state
                if found.state.name in names or found.state.is_final():
                    break
                assert time.monotonic() < give_up, f"still {found.state}\n{self.logs(run)}"
                time.sleep(0.2)
        assert not names or found.state.name in names, f"{found.state}\n{self.logs(run)}"
        return found

    def logs(self, run: UUID) -> str:
        """All logs of the run and its tasks."""
        with self.client() as client:
            wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
            return "\n".join(line.message for line in client.read_logs(wanted, limit=200))

    def promoted(self) -> list[str]:
        """The flow runs that promoted a champion, from the server's events, across all tests that use the server."""
        wanted = {"event": {"name": ["gptcore.model.promoted"]}, "resource": {"id": ["gptcore.model.gpt"]}}
        with self.client() as client:
            events = client.request("POST", "/events/filter", json={"filter": wanted}).json()["events"]
        return [event["payload"].get("flow_run_name", "") for event in events]


def end(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Signal the process alone, and wait; kill what is left of its group after two minutes."""
    try:
        process.send_signal(number)
        process.wait(120)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite database that a server may be writing to."""
    with closing(connect(source)) as here, closing(connect(target)) as there:
        here.backup(there)


@contextmanager
def cluster_in(home: Path, settings: dict[str, str] | None = None) -> Iterator[Cluster]:
    """A running cluster, stopped when the block ends, with what any machine can run deployed."""
    cluster = Cluster(home, settings)
    try:
        cluster.start()
        cluster.deploy()
        yield cluster
    finally:
        cluster.stop()


@contextmanager
def shared_cluster(home: Path, begun: Path, begin: Callable[[Cluster], object]) -> Iterator[Cluster]:
    """A running cluster, stopped when the block ends, with all pools deployed and what `begin` has done to it.

    `begun`: its database at this moment. The first of several processes leaves it for the others, which wait for it.
    """
    cluster, is_first = Cluster(home), False
    try:
        with alone(begun):
            if is_first := not begun.exists():
                cluster.start()
                cluster.deploy("gpu", "gpu-docker", "gpu-kubernetes")
                begin(cluster)
                copy_database(home / "prefect.db", begun)
        if not is_first:
            copy_database(begun, home / "prefect.db")
            cluster.start()
        yield cluster
    finally:
        cluster.stop()
