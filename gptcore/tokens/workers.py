"""Map functions over jobs on all cores, with results in order; worker processes exit with their parent."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Self, TypeVar

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from gptcore.config.environment import read_environment
from gptcore.errors import Unavailable

Job = TypeVar("Job")
Result = TypeVar("Result")


class WorkerSettings(BaseSettings):
    """Separate from config/settings.py: a stage reruns when its imports change, and training does not need this."""

    model_config = SettingsConfigDict(env_prefix="GPTCORE_", frozen=True)

    workers: int = Field(0, ge=0, description="Processes that turn text into tokens; 0 is one per core")

    @classmethod
    def count(cls) -> int:
        """The number of workers. Raises UserError, which names the variable."""
        return read_environment(cls).workers or len(os.sched_getaffinity(0))


class Workers:
    """Processes that start when there is work for several, and end with the block."""

    def __init__(self) -> None:
        self.count = WorkerSettings.count()
        self.pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.pool:
            self.pool.shutdown(cancel_futures=True)

    def in_order(self, function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
        """`function(job)` for each job, in order. Raises what `function` raises, and Unavailable if a worker dies."""
        if min(self.count, len(jobs)) < 2:
            yield from map(function, jobs)
            return
        # spawn, not fork: the terminal progress bar runs in a thread, and forking a process with threads can deadlock
        context = multiprocessing.get_context("spawn")
        self.pool = self.pool or ProcessPoolExecutor(self.count, context, initializer=_start_worker)
        try:
            yield from self.pool.map(function, jobs)
        except BrokenProcessPool:
            raise Unavailable("a worker was killed, perhaps for want of memory; run it again and it goes on") from None


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Exit when the parent dies: a killed parent closes no queue, so workers would wait forever for the next job."""
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(1)
