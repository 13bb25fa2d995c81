"""A part of a batch of prompts, unless an earlier run has made it."""

from collections.abc import Callable
from pathlib import Path

from prefect import task
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.stage import STAGE
from tasks.stop import stoppable


@task(name="complete", task_run_name="{part.name}", **STAGE)
@stoppable
def complete_part(part: Path, texts: int, write: Callable[[], None]) -> State[None]:
    """Call `write`, which makes the file."""
    if part.is_file():
        return Completed(name="Cached", message=f"{part} is there already")
    write()
    return Completed(message=f"{texts:,} prompts are answered in {part}")
