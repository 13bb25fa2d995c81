"""The slots of this machine: what computes on it at once, whoever has started it."""

import os
import re
import signal
import tempfile
import threading
from pathlib import Path

import pytest
from prefect import flow

from gptcore.errors import UserError
from tasks.workspace.slots import slot, slots
from tests.support import scratch


@pytest.fixture
def holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Another process, which has the only slot of this machine."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("GPTCORE_SLOTS", "1")
    told, tell = os.pipe()
    pid = os.fork()
    if not pid:
        with slot("tokenize"):
            os.write(tell, b"!")
            signal.pause()
    os.read(told, 1)
    return pid


@pytest.mark.usefixtures("server")
def test_a_run_waits_says_for_what_and_takes_the_slot_of_a_killed_one(
    holder: int, caplog: pytest.LogCaptureFixture
) -> None:
    @flow
    def run() -> None:
        with slot("train"):
            pass

    def kill_when_waited_for() -> None:
        scratch.wait_until(lambda: any("waits for" in text for text in caplog.messages))
        os.kill(holder, signal.SIGKILL)

    threading.Thread(target=kill_when_waited_for).start()
    run()
    os.waitpid(holder, 0)
    said = [text for text in caplog.messages if "slot" in text]
    assert said[0] == "waits for one of this machine's slots (GPTCORE_SLOTS=1): tokenize of None runs"
    assert re.fullmatch(r"waited \d+ s for a slot", said[1])
    assert len(said) == 2


def test_as_many_at_once_as_there_are_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("GPTCORE_SLOTS", "2")
    with slot("train"), slot("baseline"):
        held = sorted(each.read_text() for each in tmp_path.glob("*/*"))
    assert [text.split()[0] for text in held] == ["baseline", "train"]


def test_no_number_of_slots_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTCORE_SLOTS", "0")
    with pytest.raises(UserError, match=r"^GPTCORE_SLOTS=0: Input should be greater than or equal to 1$"):
        slots()
