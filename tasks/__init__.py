"""One Prefect task per step, under the step's own name. DVC decides whether a stage must run; Prefect runs it.

Importing this package settles what the libraries below read from the environment when they are imported: none of them
phones home, and log lines name the step they come from. What the user set is left alone. (registry/tracking.py does
the same for MLflow.)
"""

import logging
import os

from gptcore.errors import UserError

ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
    "PREFECT_CLIENT_MAX_RETRIES": "7",  # with growing waits, 4 minutes: a server that restarts ends no training
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500,504",  # and one that fails; 429, 502 and 503 are Prefect's own
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FORMAT": "%(asctime)s | %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s | %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s | %(task_name)s: %(message)s",
}


def _is_no_traceback_of_a_mistake(record: logging.LogRecord) -> bool:
    """The state that the run ends in says a UserError's one line; where in our code it was raised helps nobody."""
    return not (record.exc_info and isinstance(record.exc_info[1], UserError))


for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)
for logger in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(logger).addFilter(_is_no_traceback_of_a_mistake)
