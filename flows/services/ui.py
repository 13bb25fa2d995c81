"""Prefect, MLflow and workers on this machine until Ctrl-C: `make ui`."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, NoReturn
from urllib.parse import urlsplit

from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.services.database import prefect_database
from flows.services.deploy import EVERYWHERE, deploy
from flows.services.worker import Worker
from flows.terminal import check_home, end_with, is_local_server_up, local_server
from gptcore.config.environment import check_environment
from gptcore.errors import UserError
from gptcore.registry.moved import follow_checkout
from tasks.process.group import child_environment
from tasks.workspace.slots import slots

HOST = "127.0.0.1"
START_PAGE = f"http://{HOST}:{{port}}/#/experiments?workflowType=machine_learning"  # else MLflow opens its GenAI part
LOGS = Path("data/scratch/ui")
STOP_SECONDS = 10.0
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def main() -> None:
    port = os.environ.get("UI_PORT", "5000")
    with until_interrupted() as stack:
        processes = start_services(stack, port)
        print(f"Prefect  {local_server()}\nMLflow   {START_PAGE.format(port=port)}\nLogs     {LOGS}", flush=True)
        print("Runs started meanwhile report there. Ctrl-C ends it; a run then goes back to the queue", flush=True)
        print(f"For `prefect` in another terminal: export PREFECT_API_URL={local_server()}/api", flush=True)
        watch(processes)


@contextmanager
def until_interrupted() -> Iterator[ExitStack]:
    """What the block puts on the stack is stopped at its end, which Ctrl-C and SIGTERM bring about."""
    for number in (signal.SIGINT, signal.SIGTERM):  # background jobs of a script ignore SIGINT by default
        signal.signal(number, signal.default_int_handler)
    with ExitStack() as stack:
        try:
            yield stack
        except KeyboardInterrupt:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            print("stopping", flush=True)


def start_services(stack: ExitStack, port: str) -> "list[subprocess.Popen[bytes]]":
    """Prefect's server with everything deployed, MLflow at `port`, and workers. Raises UserError.

    Until the stack ends, the settings of this process lead to that server.
    """
    prefect = local_server()
    check_environment()
    check_home()
    slots()
    if urlsplit(prefect).hostname not in (HOST, "localhost"):
        raise UserError(
            f"PREFECT_SERVER_API_HOST={urlsplit(prefect).hostname}: `make ui` has no passwords, so it listens on "
            f"{HOST} alone; docs/deployments.md says how to start servers for other machines"
        )
    require_free(prefect, "Prefect", "PREFECT_SERVER_API_PORT")
    require_free(f"http://{HOST}:{port}", "MLflow", "UI_PORT")
    database = prefect_database()
    LOGS.mkdir(parents=True, exist_ok=True)
    follow_checkout(Path.cwd())
    stack.enter_context(temporary_settings({PREFECT_API_URL: f"{prefect}/api"}))
    server = start(stack, "prefect", ["-m", "flows.services.server"], **database)
    mlflow = ["--backend-store-uri", "sqlite:///mlflow.db", "--workers", "1", "--host", HOST, "--port", port]
    processes = [server, start(stack, "mlflow", ["-m", "mlflow", "server", *mlflow])]
    _wait_for(server)
    for _ in deploy():
        pass
    tracked = {"GPTCORE_TRACKERS": os.environ.get("GPTCORE_TRACKERS", "mlflow")}  # its page is open
    for pool in EVERYWHERE:
        worker = Worker(pool, {"PREFECT_API_URL": f"{prefect}/api", **tracked}, log=_log(stack, f"worker-{pool}"))
        stack.callback(worker.stop)
        processes.append(worker.process)
    return processes


def watch(processes: "Sequence[subprocess.Popen[bytes]]") -> NoReturn:
    """Wait for Ctrl-C. Raises UserError if one of the processes ends by itself."""
    while all(process.poll() is None for process in processes):
        time.sleep(0.5)
    raise UserError(f"one of the servers ended; {LOGS} has its last words")


def require_free(address: str, name: str, variable: str) -> None:
    """Raises UserError if something listens at `address`, before anything is started or a log is overwritten."""
    host, port = urlsplit(address).hostname, urlsplit(address).port
    with socket.socket() as probe:
        if probe.connect_ex((str(host), int(port or 0))) == 0:
            raise UserError(
                f"something listens at {address} already, perhaps another `make ui`; stop it, or give {name} another "
                f"port with {variable}"
            )


def _log(stack: ExitStack, name: str) -> IO[bytes]:
    return stack.enter_context((LOGS / f"{name}.log").open("wb"))


def start(stack: ExitStack, name: str, words: list[str], **settings: str) -> "subprocess.Popen[bytes]":
    """`python WORDS`, with its output in the log `name`; it and its children end with the stack."""
    log, environment = _log(stack, name), {**child_environment(), **QUIET, **settings}
    process = subprocess.Popen(
        [sys.executable, *words], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        start_new_session=True,
    )  # fmt: skip
    stack.callback(_stop, process)
    return process


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # children of MLflow that are still running
    process.wait()


def _wait_for(server: "subprocess.Popen[bytes]") -> None:
    while not is_local_server_up():
        if server.poll() is not None:
            raise UserError(f"Prefect's server does not start: {last_line(LOGS / 'prefect.log')}")
        time.sleep(0.2)


def last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"see {log}"


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        end_with(error)
