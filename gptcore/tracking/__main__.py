"""`python -m gptcore.tracking TRACKER OUTBOX`, started by a trainer in its folder: send the outbox until it ends."""

import os
import sys
from pathlib import Path

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # the sender asks again by itself
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # it would come at the end

from gptcore.registry.address import sqlite_file, tracking_uri
from gptcore.tracking.trackers import follow, open_tracker


def main() -> None:
    name, outbox = sys.argv[1], Path(sys.argv[2])
    uri = tracking_uri(Path.cwd())
    database = sqlite_file(uri)  # its artifacts are beside it: this folder may be a flow run's workspace
    artifacts = (database.resolve().parent if database else Path.cwd()) / "mlartifacts"
    follow(name, open_tracker(name, outbox.parent.parent, uri, artifacts), outbox)


if __name__ == "__main__":
    main()
