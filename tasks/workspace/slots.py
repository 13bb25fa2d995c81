"""Slots: how many stages compute at once on this machine, whoever starts them, a terminal or a worker."""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from prefect import get_run_logger
from prefect.runtime import flow_run
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from gptcore.config.environment import read_environment

RETRY_SECONDS = 0.5


class SlotSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="GPTCORE_", frozen=True)

    slots: int = Field(1, ge=1, description="Stages that run at once on this machine: one uses all cores and GPUs")


def slots() -> int:
    """How many this machine has. Raises UserError, which names the variable."""
    return read_environment(SlotSettings).slots


@contextmanager
def slot(stage: str) -> Iterator[None]:
    """Hold one of this machine's slots for `stage`; wait for one if all are taken, and say for what and how long.

    Each is a locked file of this user, which names its holder. A killed run releases its own. Take a turn first: who
    has a slot waits for nobody, so the two cannot block each other.
    """
    folder = Path(tempfile.gettempdir()) / f"gptcore-slots-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    started = time.monotonic()
    with ExitStack() as stack:
        files = [stack.enter_context(_open(folder / str(number))) for number in range(slots())]
        mine = _free(files)
        if mine is None:
            taken = ", ".join(filter(None, (file.read() for file in files)))
            get_run_logger().info(f"waits for one of this machine's slots (GPTCORE_SLOTS={len(files)}): {taken} runs")
            while (mine := _free(files)) is None:
                time.sleep(RETRY_SECONDS)
            get_run_logger().info(f"waited {time.monotonic() - started:.0f} s for a slot")
        mine.seek(0)
        mine.truncate()
        mine.write(f"{stage} of {flow_run.name}")
        mine.flush()
        yield


def _open(path: Path) -> IO[str]:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+")


def _free(files: list[IO[str]]) -> IO[str] | None:
    for file in files:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return file
    return None
