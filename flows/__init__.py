"""The flows that people start. `tasks` sets the environment, so it is imported before anything else."""

import tasks  # noqa: F401
from flows import heartbeat  # noqa: F401
