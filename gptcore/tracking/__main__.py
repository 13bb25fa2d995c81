"""`python -m gptcore.tracking TRACKER OUTBOX`, started by a trainer in its folder: send the outbox until it ends."""

import os
import sys
import time
from pathlib import Path
from threading import Thread

from gptcore.registry.address import sqlite_file, tracking_uri
from gptcore.tracking.trackers import LOOK_SECONDS, follow, open_tracker

MLFLOW = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # the sender asks again by itself
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # it would come at the end
}


def main() -> None:
    Thread(target=_fall_silent_alone, args=(os.getppid(),), daemon=True).start()
    for variable, value in MLFLOW.items():
        os.environ.setdefault(variable, value)
    name, outbox = sys.argv[1], Path(sys.argv[2])
    uri = tracking_uri(Path.cwd())
    database = sqlite_file(uri)  # its artifacts are beside it: this folder may be a flow run's workspace
    artifacts = (database.resolve().parent if database else Path.cwd()) / "mlartifacts"
    follow(name, open_tracker(name, outbox.parent.parent, uri, artifacts), outbox)


def _fall_silent_alone(trainer: int) -> None:
    """When the trainer has gone, let go of its output: whoever reads that, such as `| tee`, waits for its end."""
    while os.getppid() == trainer:
        time.sleep(LOOK_SECONDS)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)


if __name__ == "__main__":
    main()
