"""Send outboxes to a tracker: every point once, in order, whatever was killed or did not answer in between."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Protocol

from gptcore.errors import UserError
from gptcore.files import read_json, write_json
from gptcore.tracking.outbox import SUFFIX, is_written

AT_ONCE = 30  # points per request: MLflow takes 1,000 values
FINISHED, FAILED = "FINISHED", "FAILED"  # MLflow's words; a training that was told to stop is KILLED


@dataclass
class Begin:
    """The first line of an outbox. `step` is the one that the training begins at, not 0 if it resumes.

    `role` is what is trained: the model, or the baseline beside it. Outboxes that are older know the model alone.
    """

    fingerprint: str
    name: str
    step: int
    params: dict[str, Any]
    tokens: dict[str, str]  # sha256 by what it is of
    role: str = "model"

    def title(self) -> str:
        return self.name if self.role == "model" else f"{self.name} {self.role}".strip()


@dataclass
class Point:
    step: int
    time: int  # milliseconds since 1970
    values: dict[str, float]
    sample: str = ""


class Tracker(Protocol):
    """Where a run is shown. Everything may raise UserError; the same is then asked again later."""

    def begin(self, begin: Begin, run: str) -> tuple[str, int | None]:
        """Open the run, or go on in the one that this training resumes: its id, and the last step that it has.

        The step is -1 if it has none, and None if the tracker cannot say. `run` is the id if known already, else "".
        """
        ...

    def log(self, run: str, points: list[Point]) -> None: ...

    def end(self, run: str, status: str, tags: dict[str, str]) -> None: ...

    def page(self, run: str) -> str:
        """The address at which people see a run that was begun, or ""."""
        ...

    def system(self) -> dict[str, float]:
        """What this machine does now, if the tracker does not look by itself."""
        ...


@dataclass
class Sent:
    """How far the outboxes of a folder are sent."""

    outbox: str = ""
    offset: int = 0
    begin: dict[str, Any] = field(default_factory=dict)
    run: str = ""
    last: int = -1  # step
    status: str = ""  # of a run that has ended


class Sending:
    """The way of one folder's outboxes to the tracker. Whoever has one holds the folder's lock."""

    def __init__(self, folder: Path, tracker: Tracker) -> None:
        self.folder, self.tracker, self.record = folder, tracker, folder / "sent.json"
        self.sent = Sent(**read_json(self.record)) if self.record.exists() else Sent()
        self.is_open = False  # whether the tracker has said, since it last failed, what it has
        self.size, self.system = 0, dict[int, dict[str, float]]()

    def look(self, outbox: Path) -> bool:
        """Whether there are new lines; if so, see what the machine does at this moment."""
        size = outbox.stat().st_size
        if size == self.size:
            return False
        self.size, self.system[size] = size, self.tracker.system()
        return True

    def send(self) -> None:
        """Send all lines; remove the outboxes that get no more. Raises UserError."""
        try:
            for outbox in sorted(self.folder.glob(f"*{SUFFIX}")):
                is_over = not is_written(outbox)  # asked before it is read
                self._send(outbox)
                if not is_over:
                    return
                if self.sent.begin and not self.sent.status:  # its trainer was killed
                    self._end(FAILED, {})
                outbox.unlink()
        except UserError:
            self.is_open = False
            raise
        if self.sent.status == FINISHED:
            self.record.unlink(missing_ok=True)
            with suppress(OSError):  # another training of the same identity has begun
                self.folder.rmdir()

    def _send(self, outbox: Path) -> None:
        if outbox.name != self.sent.outbox:
            self.sent.outbox, self.sent.offset = outbox.name, 0
        for lines in _requests(outbox, self.sent.offset):
            if "point" in lines[0][1]:
                self._log([self._point(offset, line) for offset, line in lines])
            else:
                self._turn(lines[0][1])
            self.sent.offset = lines[-1][0]
            write_json(self.record, asdict(self.sent))
        self.system = {offset: values for offset, values in self.system.items() if offset > self.sent.offset}

    def _point(self, offset: int, line: dict[str, Any]) -> Point:
        point = Point(**line["point"])
        return Point(point.step, point.time, point.values | self.system.get(offset, {}), point.sample)

    def _turn(self, line: dict[str, Any]) -> None:
        if "end" in line:
            return self._end(line["end"], line["tags"])
        if self.sent.status == FINISHED:  # what begins is another run
            self.sent.last = -1
        self.sent.begin, self.sent.run, self.sent.status = line["begin"], "", ""
        return self._open()

    def _open(self) -> None:
        self.sent.run, last = self.tracker.begin(Begin(**self.sent.begin), self.sent.run)
        self.sent.last = self.sent.last if last is None else last
        self.is_open = True

    def _log(self, points: list[Point]) -> None:
        if not self.is_open:
            self._open()
        points = [each for each in points if each.step > self.sent.last]  # a resumed training repeats some
        if points:
            self.tracker.log(self.sent.run, points)
            self.sent.last = points[-1].step

    def _end(self, status: str, tags: dict[str, str]) -> None:
        if not self.is_open:
            self._open()
        self.tracker.end(self.sent.run, status, tags)
        self.sent.status = status


def _requests(outbox: Path, offset: int) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """The lines that may be sent together, each with the offset after it: some points, or one other line."""
    for are_points, lines in groupby(_lines(outbox, offset), key=lambda each: "point" in each[1]):
        while some := list(islice(lines, AT_ONCE if are_points else 1)):
            yield some


def _lines(outbox: Path, offset: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each whole line from `offset` on, with the offset after it. A torn one, of a full disk, is left out."""
    with outbox.open("rb") as file:
        file.seek(offset)
        for line in file:
            offset += len(line)
            if line.endswith(b"\n"):
                yield offset, json.loads(line)


@contextmanager
def held(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a folder of outboxes; False if another process has it and this one does not `wait`.

    False, too, if the folder is gone, because all that was in it is sent.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)
