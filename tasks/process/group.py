"""Run a command in its own process group: stream its output by line, and leave no orphan when it ends."""

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
from tasks.process.watchdog import __file__ as WATCHDOG


def run_group(
    command: list[str], folder: Path, on_line: Callable[[str], None], settings: Mapping[str, str] = MappingProxyType({})
) -> int:
    """Run `command` in `folder` with `settings` in its environment; pass each line of its output to `on_line`.

    Returns its exit code. On any exception meanwhile (cancellation, Ctrl-C, a timeout), sends SIGINT to the whole
    group, like Ctrl-C in a terminal, and waits 25 s for a checkpoint. SIGTERM to the shell alone could orphan
    the trainer. If this process is killed, the watchdog does the same. Reads lines in the caller's thread, because only
    that thread's log reaches Prefect.
    """
    alive, held = os.pipe()
    output, written = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", WATCHDOG, str(alive), str(output), *command], cwd=folder,
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
    """Kill processes that the command left behind: they may ignore SIGINT, and keep the output pipe open."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)
    _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
