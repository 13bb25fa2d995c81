"""An outbox: what one training has to tell one tracker, a JSON line each, kept on disk until the tracker has it.

The trainer appends a line and goes on. A process beside it sends the lines, so training waits for no server, and
neither a tracker's library nor its seconds of imports are part of the trainer. The trainer locks its outbox: one that
is not locked gets no more lines.
"""

import fcntl
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SUFFIX = ".jsonl"


class Outbox:
    """An outbox in `folder`, which belongs to one identity and one tracker, and the process that sends it.

    A later training of the same identity goes on in the tracker's run; its outbox is another file of that folder.
    """

    def __init__(self, tracker: str, folder: Path) -> None:
        """Raises OSError."""
        self.tracker, self.path = tracker, folder / f"{time.time_ns()}{SUFFIX}"
        self._is_full = False
        folder.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("x", encoding="utf-8")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        command = [sys.executable, "-m", "gptcore.tracking", tracker, str(self.path)]
        with _stop_signals_blocked():
            self._sender = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def put(self, line: dict[str, Any]) -> None:
        """Append a line. A disk that takes none ends the outbox, not the training."""
        if self._is_full:
            return
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:
            self._is_full = True
            print(f"warning: {self.tracker} hears no more of this run: {self.path}: {error.strerror}", flush=True)

    def close(self, patience: float) -> None:
        """Let the sender send what is left for `patience` seconds; what remains is sent later."""
        with suppress(OSError):
            self._file.close()
        try:
            self._sender.wait(patience)
        except subprocess.TimeoutExpired:
            self._sender.kill()
            self._sender.wait()
            later = f"the next training or promotion here sends the rest, {self.path}"
            print(f"warning: {self.tracker} does not have all of this run yet; {later}", flush=True)


def is_written(outbox: Path) -> bool:
    """Whether a trainer still writes to it."""
    with outbox.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


@contextmanager
def _stop_signals_blocked() -> Iterator[None]:
    """A process started here inherits it: on Ctrl-C it goes on until the trainer has told how it ended."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
