"""What people start: flows over the tasks. `tasks` settles the environment, so it comes before any other import."""

import tasks  # noqa: F401
