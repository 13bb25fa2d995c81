"""A command as a process group of its own: its output line by line, and an end that leaves no orphan."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

GRACE_SECONDS = 25.0  # Prefect kills a cancelled flow 30 s after asking it to stop


def run_group(command: list[str], folder: Path, on_line: Callable[[str], None]) -> int:
    """Run `command` in `folder`, give each line of its output to `on_line`, return its exit code.

    Whatever is raised meanwhile (cancelling, Ctrl-C, a time limit): the whole group gets SIGINT, as from Ctrl-C in a
    terminal, and 25 s to write a checkpoint. SIGTERM to dvc alone would leave the trainer running without a parent.
    The lines are read in the caller's thread, which is the one whose log reaches Prefect.
    """
    with _interruptible():
        process = subprocess.Popen(
            command, cwd=folder, env=child_environment(), start_new_session=True, text=True, errors="replace",
            bufsize=1, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    assert process.stdout
    try:
        for line in process.stdout:
            on_line(line.rstrip())
        return process.wait()
    except BaseException:
        _end(process, on_line)
        raise
    finally:
        process.stdout.close()


@contextmanager
def _interruptible() -> Iterator[None]:
    """A child started here hears SIGINT, also under `nohup` or as a script's background job, which ignore it."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def child_environment() -> dict[str, str]:
    """The environment with this interpreter's `python` and `dvc` first on the PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "SHELL": "/bin/sh"}


def _end(process: subprocess.Popen[str], on_line: Callable[[str], None]) -> None:
    with suppress(ProcessLookupError, subprocess.TimeoutExpired):
        try:
            os.killpg(process.pid, signal.SIGINT)
            last_words, _ = process.communicate(timeout=GRACE_SECONDS)
            for line in last_words.splitlines():
                on_line(line)
        finally:  # out of time, or a second Ctrl-C
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
