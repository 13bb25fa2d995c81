"""The names of all `GPTCORE_*` variables: a misspelt one is an error, as it would otherwise be ignored."""

import os
import re
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from gptcore.errors import UserError, known_names

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

Kind = TypeVar("Kind", bound="BaseSettings")

VARIABLES = (
    # settings.py and tokens/workers.py
    "GPTCORE_CHECKPOINTS", "GPTCORE_CHECKPOINT_SECONDS", "GPTCORE_COMPILE", "GPTCORE_DATA_ROOTS",
    "GPTCORE_DETERMINISTIC", "GPTCORE_DEVICE", "GPTCORE_FINISHED_STATES", "GPTCORE_KEPT_MODELS",
    "GPTCORE_MICRO_BATCH", "GPTCORE_PROMETHEUS", "GPTCORE_RANKS", "GPTCORE_REPOSITORY", "GPTCORE_RUN_NAME",
    "GPTCORE_SHARDING", "GPTCORE_TRACKERS", "GPTCORE_TRACKING_SECONDS", "GPTCORE_WORKERS",
    # serving/keys.py and lab
    "GPTCORE_API_KEYS", "GPTCORE_LAB_TOKEN", "GPTCORE_SERVING", "GPTCORE_SERVING_KEY",
    # ranks/launch.py, tasks/workspace/slots.py and flows/services
    "GPTCORE_LAUNCHER_PID", "GPTCORE_SLOTS", "GPTCORE_POSTGRES", "GPTCORE_WEBHOOK",
)  # fmt: skip
OF_KUBERNETES = re.compile(r".*_(SERVICE_(HOST|PORT\w*)|PORT(_\d+_\w+)?)")  # for a service named gptcore-...


def check_environment() -> None:
    """Every process calls this when it starts. Raises UserError that names the unknown variable and the nearest."""
    for name in os.environ:
        given = name.upper()  # pydantic-settings reads them in any case
        if given.startswith("GPTCORE_") and given not in VARIABLES and not OF_KUBERNETES.fullmatch(given):
            raise UserError(f"the environment variable {name} is unknown{known_names(given, VARIABLES)}")


def read_environment(kind: type[Kind]) -> Kind:
    """The variables that are fields of `kind`. Raises UserError that names an invalid one."""
    try:
        return kind()
    except ValidationError as error:
        first = error.errors()[0]
        variable = f"GPTCORE_{str(first['loc'][0]).upper()}"
        raise UserError(f"{variable}={os.environ.get(variable)}: {first['msg']}") from None
