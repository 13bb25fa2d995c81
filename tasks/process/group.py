"""A command as a process group of its own: its output line by line, and an end that leaves no orphan."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import MappingProxyType

from tasks.process.watchdog import GRACE_SECONDS
from tasks.process.watchdog import __file__ as LEASH


def run_group(
    command: list[str], folder: Path, on_line: Callable[[str], None], settings: Mapping[str, str] = MappingProxyType({})
) -> int:
    """Run `command` in `folder`, `settings` in its environment; each line of its output goes to `on_line`.

    Returns its exit code. Whatever is raised meanwhile (cancelling, Ctrl-C, a time limit): the whole group gets SIGINT,
    as from Ctrl-C in a terminal, and 25 s to write a checkpoint. SIGTERM to dvc alone would leave the trainer running
    without a parent. If this process is killed, the watchdog does the same. The lines are read in the caller's thread,
    which is the one whose log reaches Prefect.
    """
    alive, held = os.pipe()
    output, written = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", LEASH, str(alive), str(output), *command], cwd=folder,
        env={**child_environment(), **settings}, start_new_session=True, pass_fds=(alive, output),
        stdin=subprocess.DEVNULL, stdout=written, stderr=written,
    )  # fmt: skip
    os.close(alive)
    os.close(written)
    with os.fdopen(output, errors="replace") as lines, os.fdopen(held):
        try:
            for line in lines:
                on_line(line.rstrip())
            return process.wait()
        except BaseException:
            _end(process, lines, on_line)
            raise


def child_environment() -> dict[str, str]:
    """The environment with this interpreter's `python` and `dvc` first on the PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "SHELL": "/bin/sh"}


def _end(process: subprocess.Popen[bytes], lines: Iterable[str], on_line: Callable[[str], None]) -> None:
    try:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        Thread(target=_kill_at_its_end, args=(process,), daemon=True).start()
        for line in lines:
            on_line(line.rstrip())
    finally:  # also at a second Ctrl-C
        _kill(process)
        process.wait()


def _kill_at_its_end(process: subprocess.Popen[bytes]) -> None:
    """What the command has left behind may be deaf to SIGINT, and holds the pipe that is being read."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)
    _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
