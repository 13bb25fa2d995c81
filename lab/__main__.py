"""The lab, and whatever of Prefect, MLflow, workers and the API is not up yet, until Ctrl-C: `make lab`."""

import argparse
import os
import secrets
import subprocess
import time
from contextlib import ExitStack, suppress
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address

from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

from flows.services.ui import LOGS, last_line, require_free, start, start_services, until_interrupted, watch
from flows.terminal import end_with, running_server
from gptcore.config.environment import check_environment
from gptcore.errors import UserError
from lab.read.served import FEW_SLOTS, SERVING

HOST, PORT = "127.0.0.1", 8501


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lab", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--host", default=HOST, help="address to listen on; %(default)s if not given")
    parser.add_argument("--port", type=int, default=PORT, help="%(default)s if not given")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    check_environment()
    token = os.environ.get("GPTCORE_LAB_TOKEN") or ("" if _is_loopback(given.host) else secrets.token_urlsafe(24))
    asked = HOST if given.host in ("0.0.0.0", "::") else given.host
    require_free(f"http://{asked}:{given.port}", "the lab", "--port")
    with until_interrupted() as stack:
        stack.enter_context(temporary_settings(running_server()))
        processes = [] if PREFECT_API_URL.value() else start_services(stack, os.environ.get("UI_PORT", "5000"))
        LOGS.mkdir(parents=True, exist_ok=True)
        _start_api(stack)
        settings = get_current_settings().to_environment_variables(exclude_unset=True)
        words = ["-m", "lab.server", "--host", given.host, "--port", str(given.port)]
        lab = start(stack, "lab", words, **settings, GPTCORE_LAB_TOKEN=token)
        _wait_for(lab, asked, given.port)
        print(f"Lab      http://{asked}:{given.port}{f'/?token={token}' if token else ''}", flush=True)
        print(f"Prefect  {PREFECT_API_URL.value()}\nLogs     {LOGS}\nCtrl-C ends it", flush=True)
        watch([*processes, lab])


def _start_api(stack: ExitStack) -> None:
    """Where none is up, the server that answers for the champion; without a champion it ends, as its log says."""
    with suppress(UserError):  # something listens there
        if "GPTCORE_SERVING" not in os.environ:
            require_free(SERVING, "the API", "GPTCORE_SERVING")
            start(stack, "serving", ["-m", "serving", "--slots", FEW_SLOTS])


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _wait_for(lab: "subprocess.Popen[bytes]", host: str, port: int) -> None:
    while True:
        if lab.poll() is not None:
            raise UserError(f"the lab does not start: {last_line(LOGS / 'lab.log')}")
        try:
            connection = HTTPConnection(host, port, timeout=5)
            connection.request("GET", "/_stcore/health")
            if connection.getresponse().status == 200:
                return
        except (OSError, HTTPException):
            pass
        time.sleep(0.2)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        end_with(error)
