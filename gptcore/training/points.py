"""What trackers hear of a run: a point of its curves every few seconds and at each evaluation, samples, how it ends."""

import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from gptcore.config.paths import Paths
from gptcore.config.settings import settings
from gptcore.errors import Stopped, UserError
from gptcore.files import read_sums
from gptcore.ranks import distributed
from gptcore.tracking.outbox import Outbox
from gptcore.training.hardware import peak_flops_per_second
from gptcore.training.memory import peak_bytes
from gptcore.training.train import StepReport, TrainState

PATIENCE, HURRY = 10.0, 3.0  # seconds for a tracker at the end; whoever stops a training waits for it
ROLES = {"train": "model", "baseline": "baseline"}  # of stages


class Points:
    """The points of one run, of its first rank. Without a tracker, nothing happens."""

    def __init__(self, state: TrainState, batch_tokens: int, export: Path) -> None:
        self.state, self.batch_tokens, self.export = state, batch_tokens, export
        self.role, self.outboxes = "", list[Outbox]()
        self.said = time.monotonic() - settings().tracking_seconds  # the first step is a point
        self.steps, self.seconds, self.loss_sum = 0, 0.0, 0.0  # since the last point

    def begin(self, stage: str, fingerprint: str, identity: dict[str, Any], paths: Paths) -> None:
        """Open an outbox for each tracker. Raises UserError if one is not installed."""
        self.role = ROLES[stage]
        names = settings().tracker_names() if distributed.is_first() else []
        if "wandb" in names and getattr(find_spec("wandb"), "origin", None) is None:  # a folder wandb/ is no package
            raise UserError("GPTCORE_TRACKERS has wandb, which is not installed: pip install 'gptcore[wandb]'")
        params = {name: identity[name] for name in ("model", "lora", "optim", "train", "curve") if name in identity}
        tokens = {name: sha256 for name, sha256 in identity["tokens"].items() if sha256}
        name, step = settings().run_name, self.state.step
        begin = {"fingerprint": fingerprint, "name": name, "step": step, "role": self.role}
        for each in names:
            try:
                self.outboxes.append(Outbox(each, paths.scratch / "tracking" / each / fingerprint))
            except OSError as error:
                print(f"warning: {each} does not hear of this run: {error.filename}: {error.strerror}", flush=True)
        self._put({"begin": {**begin, "params": params, "tokens": tokens}})

    def is_due(self, is_looked_at: bool, seconds: float) -> bool:
        """Whether the next step is a point: one that is evaluated or sampled, or that ends when it is time.

        `seconds` is what the step before took. This is asked ahead, because a step's gradients are gone after it.
        """
        is_time = time.monotonic() + seconds - self.said >= settings().tracking_seconds
        return bool(self.outboxes) and (is_looked_at or is_time)

    def add(self, report: StepReport, seconds: float, evaluated: dict[str, float], sample: str) -> None:
        """A step is done. It is a point if the optimizer has measured it, with the row of the curve and the sample."""
        if not self.outboxes:
            return
        self.steps, self.seconds, self.loss_sum = self.steps + 1, self.seconds + seconds, self.loss_sum + report.loss
        if not self.state.optimizer.measures:
            return
        values = {**self._values(report), **evaluated}
        point = {"step": report.step, "time": round(1000 * time.time()), "values": values, "sample": sample}
        self._put({"point": point})
        self.steps, self.seconds, self.loss_sum, self.said = 0, 0.0, 0.0, time.monotonic()

    def _values(self, report: StepReport) -> dict[str, float]:
        state, is_cuda = self.state, self.state.device.type == "cuda"
        tokens_per_second = self.steps * self.batch_tokens / self.seconds
        peak = peak_flops_per_second(torch.cuda.get_device_name()) if is_cuda else None
        norm = state.optimizer.gradient_norm
        used = state.counts.flops_per_token * tokens_per_second / distributed.count()
        return {
            "loss": self.loss_sum / self.steps,
            "tokens": report.step * self.batch_tokens,
            "learning_rate": report.learning_rate_factor * state.optimizer.peak,
            **({} if norm is None else {"gradient_norm": float(norm)}),
            "tokens_per_second": tokens_per_second,
            **({"mfu": used / peak} if peak else {}),
            "skipped_batches": len(state.guard.skipped),
            "peak_memory_megabytes": (torch.cuda.max_memory_allocated() if is_cuda else peak_bytes()) / 1e6,
        }

    def _put(self, line: dict[str, Any]) -> None:
        for each in self.outboxes:
            each.put(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.outboxes:
            return
        if error is None:
            weights = read_sums(self.export)["model.safetensors"]  # a version is registered in the run of its model
            self._put({"end": "FINISHED", "tags": {f"{self.role}_sha256": weights}})
        else:
            self._put({"end": "KILLED" if isinstance(error, Stopped | KeyboardInterrupt) else "FAILED", "tags": {}})
        for each in self.outboxes:
            each.close(PATIENCE if error is None else HURRY)
