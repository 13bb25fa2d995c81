"""Report progress of long work: a bar in a terminal, a line every few seconds if the output is a pipe or a file.

A line reads `train  45% |█████████           | step 900/2,000  loss 3.21  0:42 left`. The Prefect task turns the
percentage after the stage's name into its progress artifact.
"""

import sys
import time
from types import TracebackType
from typing import Self

LINE_EVERY_SECONDS = 5.0
BAR_CELLS = 20


class Progress:
    """`with Progress("train", total_steps, "step") as progress: progress.update(step, "loss 3.21")`."""

    def __init__(self, name: str, total: int, unit: str, done: int = 0) -> None:
        self.name, self.total, self.unit, self.first = name, max(total, 1), unit, done
        self.started = self.printed = time.perf_counter()
        if sys.stdout.isatty():
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            words = TextColumn("{task.fields[words]}")
            self.bar: Bar | None = Bar(
                TextColumn(name), BarColumn(), TaskProgressColumn(), words, TimeRemainingColumn()
            )
            self.task = self.bar.add_task(name, total=self.total, completed=done, words="")
        else:
            self.bar = None

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()

    def update(self, done: int, note: str = "") -> None:
        """Report that `done` of `total` units are done."""
        words = f"{self.unit} {done:,}/{self.total:,}  {note}".rstrip()
        now = time.perf_counter()
        if self.bar:
            self.bar.update(self.task, completed=done, words=words)
        elif now - self.printed >= LINE_EVERY_SECONDS or done >= self.total:
            self.printed = now
            print(self._line(done, words, now - self.started), flush=True)

    def _line(self, done: int, words: str, seconds: float) -> str:
        fraction = min(done / self.total, 1.0)
        bar = "█" * round(fraction * BAR_CELLS)
        left = seconds / max(done - self.first, 1) * (self.total - done)
        return f"{self.name} {fraction:4.0%} |{bar:<{BAR_CELLS}}| {words}  {int(left) // 60}:{int(left) % 60:02d} left"
