"""The server that Prefect starts for a run alone where none is up, with the transactions of `sqlite.py`.

`python -m flows.services.embedded PORT` is the server, a child of the run.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import uvicorn
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import get_current_settings

ROOT = Path(__file__).resolve().parents[2]
AS_PREFECT_DOES = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


class EmbeddedServer(SubprocessASGIServer):
    """Make one before a run begins: Prefect keeps the first that is made, and starts it when it needs a server."""

    def _run_uvicorn_command(self) -> "subprocess.Popen[Any]":
        """With SIGINT blocked: otherwise Ctrl-C would end it too, and nothing could record how the run ended."""
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        settings = get_current_settings().to_environment_variables(exclude_unset=True)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # child processes inherit the mask
        try:
            return subprocess.Popen(
                [sys.executable, "-m", "flows.services.embedded", str(self.port)],
                env={**os.environ, **AS_PREFECT_DOES, **settings, "PYTHONPATH": path},
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def main(port: int) -> None:
    from flows.services.server import import_server

    import_server()
    app = "prefect.server.api.server:create_app"
    uvicorn.run(app, factory=True, host="127.0.0.1", port=port, log_level="error", lifespan="on")


if __name__ == "__main__":
    main(int(sys.argv[1]))
