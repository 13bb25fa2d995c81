"""The progress of stages, read from the lines that they log: the newest step is known, wherever the stage runs."""

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock

from lab.read.prefect import Line, Prefect

PROGRESS = re.compile(r"^\s*(\d+)% \|.*?\| (\w+) ([\d,]+)/([\d,]+)(.*?)(?:  (\d+):(\d\d) left)?$")
FIGURE = re.compile(r"(?:(loss|val) ([\d.]+|nan|inf))|(?:([\d,]+) (tokens)/s)")
SKIP = re.compile(r"the loss is (\S+) at step ([\d,]+): went back to step ([\d,]+) and on without batch ([\d,]+)$")
EVENT = re.compile(r"out of memory|resumed at step|was asked to stop|warning:")
SHOWN = 400  # lines that are kept to be read, more than come at once


@dataclass(frozen=True)
class Point:
    """How far a stage is, of how many `units`. What a stage does not tell is None."""

    done: int
    total: int
    unit: str
    loss: float | None
    val_loss: float | None
    tokens_per_second: float | None
    seconds_left: int | None

    @property
    def share(self) -> float:
        return min(self.done / max(self.total, 1), 1.0)


@dataclass(frozen=True)
class Skip:
    """A batch that the guard has left out of a training, as its `loss` at `step` was a spike or no number."""

    step: int
    loss: float
    back_to: int
    batch: int


@dataclass
class Log:
    """What a run has logged so far. Only lines that came since the last look are asked for."""

    run: str
    after: str = ""
    points: dict[str, list[Point]] = field(default_factory=dict)  # by the id of the step
    skips: dict[str, dict[int, Skip]] = field(default_factory=dict)  # likewise, then by batch: a retry skips it again
    events: list[Line] = field(default_factory=list)
    last: deque[Line] = field(default_factory=lambda: deque(maxlen=SHOWN))
    lock: Lock = field(default_factory=Lock)

    def update(self, prefect: Prefect) -> None:
        with self.lock:
            while lines := self._new(prefect.lines(self.run, self.after)):
                self.add(lines)

    def _new(self, lines: list[Line]) -> list[Line]:
        """Without those of the last moment that are known already."""
        known = {each.id for each in self.last if each.when == self.after}
        return [each for each in lines if each.id not in known]

    def add(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self.after = line.when
            self.last.append(line)
            if line.step and (point := parsed(line.text)):
                self.points.setdefault(line.step, []).append(point)
            elif line.step and (skip := skipped(line.text)):
                self.skips.setdefault(line.step, {})[skip.batch] = skip
            elif EVENT.search(line.text):
                self.events.append(line)


def parsed(text: str) -> Point | None:
    """A line as `gptcore.progress` writes it; None if it is another."""
    found = PROGRESS.match(text)
    if not found:
        return None
    _, unit, done, total, note, minutes, seconds = found.groups()
    figures: Mapping[str, str] = {
        str(name or kind): value or count for name, value, count, kind in FIGURE.findall(note)
    }
    return Point(
        _number(done), _number(total), unit, _figure(figures.get("loss")), _figure(figures.get("val")),
        _figure(figures.get("tokens")), 60 * int(minutes) + int(seconds) if minutes else None,
    )  # fmt: skip


def skipped(text: str) -> Skip | None:
    """A line as `gptcore.training.guard` writes it; None if it is another."""
    found = SKIP.search(text)
    if not found:
        return None
    loss, step, back_to, batch = found.groups()
    return Skip(_number(step), float(loss), _number(back_to), _number(batch))


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _figure(text: str | None) -> float | None:
    return None if text is None else float(text.replace(",", ""))
