"""A step that is cancelled: the state of its task, and the end of its flow."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelled

STOPPED = "stopped on request; run it again and it goes on from there"
P = ParamSpec("P")
R = TypeVar("R")


def stoppable(step: Callable[P, R]) -> Callable[P, R]:
    """Let a cancelled step return the state `Cancelled`, for the flow to pass to `unless_stopped`.

    Prefect shows a task that raises a signal as crashed, though somebody asked for its end.
    """

    @wraps(step)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return step(*args, **kwargs)
        except (TerminationSignal, KeyboardInterrupt) as stop:
            return cast(R, Cancelled(message=STOPPED, data=stop))

    return run


def unless_stopped(result: R) -> R:
    """What a stoppable step returns; raises again what stopped it, so that the flow ends too."""
    if isinstance(result, State) and result.is_cancelled():
        raise cast(Any, result.data).result
    return result
