"""What belongs to the whole process: a test that changes it would change what the next test in that process finds."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gptcore.config.settings import settings

# set once, by a module of ours that may be imported in the middle of a test, and read later; the last is pytest's own
KEPT = {
    "CUBLAS_WORKSPACE_CONFIG", "GOMP_SPINCOUNT",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_LOGGING_LEVEL",
    "PYTEST_CURRENT_TEST",
}  # fmt: skip
Undo = Callable[[], None]


@contextmanager
def restored() -> Iterator[None]:
    """After the block, what it has changed in this process is as it was before.

    Python's random numbers go on: Prefect draws the names of runs from them, which must differ between tests.
    """
    settings.cache_clear()
    # MLflow's addresses before the environment, where setting them leaves them
    undone = [each() for each in (_mlflow, _environment, _folder, _program, _signals, _logs, _torch)]
    try:
        yield
    finally:
        for undo in undone:
            undo()
        settings.cache_clear()


def no_registry() -> None:
    """As if nobody had asked MLflow yet: what a fixture of the module has asked leads a test nowhere."""
    _lead_mlflow((None, None))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        os.environ.pop(name, None)


def _mlflow() -> Undo:
    """Its clients set addresses for the whole process, and in the environment for child processes."""
    before = _mlflow_addresses()
    return lambda: _lead_mlflow(before)


def _lead_mlflow(addresses: tuple[str | None, str | None]) -> None:
    if (now := _mlflow_addresses()) != addresses:
        import mlflow

        for old, new, put in zip(now, addresses, (mlflow.set_tracking_uri, mlflow.set_registry_uri), strict=True):
            if old != new:
                put(new)


def _mlflow_addresses() -> tuple[str | None, str | None]:
    tracking, registry = (
        sys.modules.get(f"mlflow.tracking.{each}.utils") for each in ("_tracking_service", "_model_registry")
    )
    return getattr(tracking, "_tracking_uri", None), getattr(registry, "_registry_uri", None)


def _environment() -> Undo:
    before = dict(os.environ)

    def undo() -> None:
        for name in os.environ.keys() - before.keys() - KEPT:
            del os.environ[name]
        for name, value in before.items():
            if os.environ.get(name) != value and name not in KEPT:
                os.environ[name] = value

    return undo


def _folder() -> Undo:
    before = os.getcwd()  # noqa: PTH109  (a Path costs more, and this runs for each test)
    return lambda: os.chdir(before)


def _program() -> Undo:
    """Streamlit makes a page the main program, with which processes that are forked later would start."""
    words, path, main = sys.argv.copy(), sys.path.copy(), sys.modules["__main__"]

    def undo() -> None:
        sys.argv[:], sys.path[:], sys.modules["__main__"] = words, path, main

    return undo


def _signals() -> Undo:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def undo() -> None:
        for number, handler in before.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)

    return undo


def _logs() -> Undo:
    level, disabled = logging.root.level, logging.root.manager.disable

    def undo() -> None:
        if (logging.root.level, logging.root.manager.disable) != (level, disabled):
            logging.root.setLevel(level)
            logging.disable(disabled)

    return undo


def _torch() -> Undo:
    torch: Any = sys.modules.get("torch")  # its import takes seconds, which not every test process needs
    if torch is None:
        return lambda: None
    random = torch.get_rng_state()
    ways = [
        (torch.get_num_threads, torch.set_num_threads),
        (torch.get_default_dtype, torch.set_default_dtype),
        (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    ]
    before = [get() for get, _ in ways]

    def undo() -> None:
        torch.set_rng_state(random)
        for (get, put), value in zip(ways, before, strict=True):
            if get() != value:
                put(value)

    return undo
