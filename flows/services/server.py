"""`prefect server start`, with the transactions of `sqlite.py`: `python -m flows.services.server`."""

import sys

from prefect.cli import app

from flows.services.sqlite import let_transactions_wait

if __name__ == "__main__":
    let_transactions_wait()
    sys.argv[1:] = ["--no-prompt", "server", "start"]
    app()
