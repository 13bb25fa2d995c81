"""A command as a process group: none of its processes may stay behind."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tasks.process import watchdog
from tasks.process.group import run_group
from tests.support import scratch

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)


def test_lines_and_exit_code(tmp_path: Path) -> None:
    lines: list[str] = []
    code = run_group(["sh", "-c", "echo one; echo two >&2; exit 3"], tmp_path, lines.append)
    assert (code, lines) == (3, ["one", "two"])


def test_python_of_the_child_is_this_one(tmp_path: Path) -> None:
    lines: list[str] = []
    run_group(["python", "-c", "import sys; print(sys.executable)"], tmp_path, lines.append)
    assert Path(lines[0]).samefile(sys.executable)


class TooLong(BaseException):
    """Like Prefect's TerminationSignal: not an Exception."""


@pytest.mark.parametrize("handler", ["echo saving; exit", "sleep 0.3; echo saving; exit"])
def test_interrupted_group_ends_and_its_last_words_are_heard(tmp_path: Path, handler: str) -> None:
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        if line == "begun":
            raise TooLong

    script = f"trap '{handler}' INT; echo begun; sleep 60 & wait"
    with pytest.raises(TooLong):
        run_group(["bash", "-c", script], tmp_path, on_line)
    assert lines == ["begun", "saving"]
    assert scratch.processes_in(tmp_path) == []


def test_deaf_group_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.process.group.GRACE_SECONDS", 0.5)

    def on_line(line: str) -> None:
        raise TooLong

    began = time.monotonic()
    with pytest.raises(TooLong):
        run_group(["sh", "-c", f'{sys.executable} -c "{STUBBORN}"; true'], tmp_path, on_line)
    assert time.monotonic() - began < 20  # not the 25 s of a trainer, nor the 60 of the deaf one
    scratch.wait_until(lambda: scratch.processes_in(tmp_path) == [], seconds=30)


FLOW = """
import sys
from pathlib import Path
from tasks.process import group
group.WATCHDOG = sys.argv[1]
group.run_group(["bash", "-c", sys.argv[2]], Path.cwd(), print)
"""


@pytest.mark.parametrize("handler", ["echo saving; sleep 0.3; touch saved; exit", ""], ids=["heeds SIGINT", "deaf"])
def test_killed_flow_leaves_no_orphan(tmp_path: Path, handler: str) -> None:
    text = Path(watchdog.__file__).read_text().replace("GRACE_SECONDS = 25.0", "GRACE_SECONDS = 1.0")
    (tmp_path / "watchdog.py").write_text(text)
    script = f"trap '{handler}' INT; touch begun; for each in $(seq 600); do echo step; sleep 0.1 & wait; done"
    flow = scratch.start(tmp_path, sys.executable, "-c", FLOW, str(tmp_path / "watchdog.py"), script)
    scratch.wait_until((tmp_path / "begun").exists)
    os.killpg(flow.pid, signal.SIGKILL)
    flow.communicate()
    scratch.wait_until(lambda: scratch.processes_in(tmp_path) == [], seconds=40)  # the script takes 60
    assert (tmp_path / "saved").exists() == bool(handler)


def test_a_command_that_a_signal_ends(tmp_path: Path) -> None:
    assert run_group(["sh", "-c", "kill -9 $$"], tmp_path, print) == -9
