"""One Prefect task per step, under the step's own name. DVC decides whether a stage must run; Prefect runs it.

Importing this package sets environment variables that the libraries read at import: telemetry is off, and log lines
name the step they come from. Variables that the user has set stay. (registry/tracking.py does the same for MLflow.)
"""

import logging
import os
import warnings

from gptcore.errors import UserError

ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # seconds; the automation `lost runs` gives up after four of them
    # Between a worker's polls, its only way to learn of a run. Prefect's default of 10 keeps a user waiting. Each costs
    # a write to the database: four a second took a third of a core and ended in `database is locked` on SQLite
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # Prefect gives it 20; the first migrates a database
    "PREFECT_CLIENT_MAX_RETRIES": "7",  # with growing waits, 4 minutes in all: training survives a server restart
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500,504",  # and an error of the server; 429, 502 and 503 are Prefect's own
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FORMAT": "%(asctime)s | %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s | %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s | %(task_name)s: %(message)s",
}


def _is_no_traceback_of_a_mistake(record: logging.LogRecord) -> bool:
    """The run's final state already shows a UserError's one line; its traceback helps no user."""
    return not (record.exc_info and isinstance(record.exc_info[1], UserError))


# flows/terminal.py says it in one line, where it matters
warnings.filterwarnings("ignore", "Failed to create the Prefect home directory", UserWarning)
for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)
for logger in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(logger).addFilter(_is_no_traceback_of_a_mistake)
