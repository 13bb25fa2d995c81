"""`python -m MODULE WORDS` without its imports: forked from a process that has imported torch and the stages already.

A trainer of a test runs for a second and would import torch for three. The forked process is like a started one in all
that tests look at: a process of its own, with its own folder, environment, output, signals and exit code.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
# its sockets lie in the tests' temporary folder, which is gone before multiprocessing would remove a folder of its own
multiprocessing.current_process()._config["tempdir"] = tempfile.mkdtemp()  # type: ignore[attr-defined]
CONTEXT.set_forkserver_preload(["tests.support.preloaded"])


class Forked:
    """A process with the methods of `subprocess.Popen` that tests use; its output is one text, read at its end."""

    def __init__(self, module: str, folder: Path, environment: dict[str, str], *words: str) -> None:
        descriptor, name = tempfile.mkstemp(prefix="output-")
        os.close(descriptor)
        self.output = Path(name)
        self.process = CONTEXT.Process(target=_run, args=(module, words, str(folder), environment, name))
        self.process.start()
        assert self.process.pid
        self.pid: int = self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self.process.join(timeout)
        if self.process.exitcode is None:
            assert timeout
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return self.process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        self.wait(timeout)
        output = self.output.read_text(encoding="utf-8")
        self.output.unlink()
        return output, None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(module: str, words: tuple[str, ...], folder: str, environment: dict[str, str], output: str) -> None:
    with Path(output).open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = [module, *words]
    sys.orig_argv = [sys.executable, "-m", module, *words]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # multiprocessing ends its processes without
