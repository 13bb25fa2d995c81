"""Weights & Biases as a tracker (the extra `wandb`). It has system metrics of its own, and an outbox when offline."""

import os
from pathlib import Path

import wandb

from gptcore.addresses import redacted
from gptcore.config.presets import flatten
from gptcore.errors import Unavailable
from gptcore.tracking.sending import FINISHED, Begin, Point

PROJECT = "gptcore"  # unless WANDB_PROJECT names another


class Wandb:
    def __init__(self, folder: Path) -> None:
        """`folder` gets its files unless WANDB_DIR is set: the current one may be a flow run's, which is removed."""
        self.folder = folder.resolve()
        self.run: wandb.Run | None = None

    def begin(self, begin: Begin, run: str) -> tuple[str, int | None]:
        """Resumed by its id, the fingerprint: offline, `wandb sync` puts the parts together."""
        if self.run and self.run.id != begin.fingerprint:
            self._finish(0)
        if self.run is None:
            config = {name: redacted(str(value)) for name, value in flatten(begin.params).items()}
            config |= {f"tokens.{name}": value for name, value in begin.tokens.items()}
            try:
                self.run = wandb.init(
                    project=os.environ.get("WANDB_PROJECT") or PROJECT, dir=os.environ.get("WANDB_DIR") or self.folder,
                    id=begin.fingerprint, name=begin.title() or None, job_type=begin.role, config=config,
                    resume="allow",
                    settings=wandb.Settings(silent=True, console="off"),
                )  # fmt: skip
            except wandb.Error as error:
                raise Unavailable(f"Weights & Biases: {' '.join(str(error).split())}") from error
        return self.run.id, None if self.run.offline else self.run.step - 1

    def log(self, run: str, points: list[Point]) -> None:
        assert self.run
        for each in points:
            if each.sample:
                file = Path(self.run.dir) / "samples" / f"step-{each.step:09d}.txt"
                file.parent.mkdir(exist_ok=True)
                file.write_text(each.sample, encoding="utf-8")
            self.run.log(each.values, step=each.step, commit=True)

    def end(self, run: str, status: str, tags: dict[str, str]) -> None:
        assert self.run
        self.run.summary.update(tags)
        self._finish(0 if status == FINISHED else 1)

    def _finish(self, code: int) -> None:
        assert self.run
        self.run.finish(exit_code=code)
        self.run = None

    def page(self, run: str) -> str:
        return self.run.url or "" if self.run and not self.run.offline else ""

    def system(self) -> dict[str, float]:
        return {}
