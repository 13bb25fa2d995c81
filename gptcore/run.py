"""A training run from token files to an exported model: resume, loss curve, samples, signals, progress."""

import csv
import hashlib
import signal
import time
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

import torch
from pydantic import Field

from gptcore import distributed, sharding
from gptcore.checkpoint import Checkpoints, Progressed, fingerprint
from gptcore.errors import Stopped, UserError
from gptcore.evaluate import window_losses
from gptcore.export import save_export
from gptcore.files import atomic_path, write_text
from gptcore.memory import keep_freed_memory
from gptcore.model import GPT, ModelConfig
from gptcore.optim import OptimConfig
from gptcore.params import Metrics, Paths, Section
from gptcore.places import open_place
from gptcore.progress import Progress
from gptcore.settings import settings
from gptcore.start import make_ready, new_state
from gptcore.tokenizer import Tokenizer
from gptcore.tokens import open_tokens, read_meta, stream_sha256, verify_tokens
from gptcore.train import StepReport, TrainConfig, fit


class CurveConfig(Section):
    """How validation loss is followed while a model trains: the same for the model and its baseline."""

    points: int = Field(gt=0, description="Evaluations over the run, evenly spaced")
    windows: int = Field(gt=0, description="Validation windows per evaluation, spread evenly over the split")
    block_size: int = Field(gt=0, description="Tokens per window; at most both models' block_size")


class TrainMetrics(Metrics):
    train_loss: float
    val_loss: float
    steps: int
    tokens: int
    skipped_batches: int
    parameters: int


class StopRequest:
    """Set by SIGINT or SIGTERM; the loop looks at it after each step.

    A second signal ends the process as usual, but not one rank of several, to which a first one can come twice.
    """

    def __init__(self) -> None:
        self.made = False
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, self._make)

    def _make(self, number: int, frame: FrameType | None) -> None:
        self.made = True
        if distributed.count() == 1:
            signal.signal(number, signal.SIG_DFL)


@dataclass
class Run:
    """One model's training, named by its stage; `folder` takes the results."""

    name: str
    model: ModelConfig
    optim: OptimConfig
    train: TrainConfig
    curve: CurveConfig
    paths: Paths
    folder: Path
    progressed: Progressed = field(init=False)

    def __post_init__(self) -> None:
        keep_freed_memory()
        if distributed.is_first_here():
            verify_tokens(self.paths.tokens)
        self.tokenizer = Tokenizer.load(self.paths.tokens / "tokenizer.json")
        self.val_tokens = open_tokens(self.paths.tokens, "val")
        meta = read_meta(self.paths.tokens)
        self.identity = {
            "model": self.model.model_dump(mode="json"),
            "optim": self.optim.model_dump(mode="json"),
            "train": self.train.model_dump(mode="json"),
            "curve": self.curve.model_dump(mode="json"),
            "tokens": {
                "train": meta.train.sha256,
                "val": meta.val.sha256,
                "tokenizer": meta.tokenizer_sha256,
                "stream": stream_sha256(self.paths.tokens),
            },
            "code": code_sha256(),
            "torch": torch.__version__,
        }
        theirs = distributed.from_first(self.identity)
        if differing := [name for name, value in self.identity.items() if theirs[name] != value]:
            raise UserError(
                f"not the same here as on rank 0's machine: {', '.join(differing)}; "
                "bring code, params.yaml and data/tokens to one state"
            )
        self.state = new_state(self.model, self.optim, self.train, self.paths)
        where = settings().checkpoints or self.paths.scratch
        place = open_place(f"{where}/{self.name}/{fingerprint(self.identity)}")
        self.checkpoints = Checkpoints(place, self.identity)
        self._resume()
        make_ready(self.state)

    def _resume(self) -> None:
        """The first rank's checkpoint, on every rank."""
        found = self.checkpoints.load() if distributed.is_first() else None
        tensors, progressed = found or ({}, None)
        progressed = distributed.from_first(progressed and asdict(progressed))
        tensors = distributed.tensors_from_first(tensors)
        if progressed is None:
            self.progressed = Progressed(step=0, seconds=0.0, loss_sum=0.0, rows=[], samples=[])
            return
        self.progressed = Progressed(**progressed)
        self.state.load_tensors(tensors, self.progressed.step)
        print(f"{self.name}: resumed at step {self.progressed.step:,} of {self.train.steps:,}", flush=True)

    def save(self, wait: bool = False) -> None:
        tensors = sharding.tensors_on_first(self.state.tensors())
        if distributed.is_first():
            self.checkpoints.save(tensors, self.progressed, wait)

    def to_the_end(self) -> TrainMetrics:
        """Train, then write the results. Raises Stopped, after a checkpoint, when a signal asked for it."""
        stop, saved = StopRequest(), time.monotonic()
        started = time.perf_counter()
        with closing(self.checkpoints), Progress(self.name, self.train.steps, "step", self.state.step) as progress:
            for report in fit(self.state):
                self._record(report, time.perf_counter() - started, progress)
                if self._reached_target():
                    break
                is_time = distributed.is_first() and time.monotonic() - saved > settings().checkpoint_seconds
                stops, saves = distributed.any_rank(stop.made, is_time)
                if stops or saves:
                    self.save(wait=stops)
                    saved = time.monotonic()
                if stops:
                    distributed.wait_for_all()  # a rank that ended before the checkpoint is there would end the others
                    raise Stopped(f"stopped at step {report.step:,} of {self.train.steps:,}; run it again to go on")
                started = time.perf_counter()
        return self._export()

    def _record(self, report: StepReport, seconds: float, progress: Progress) -> None:
        """Count the step; evaluate and sample where it is time to. `seconds` are those of the step alone."""
        here = self.progressed
        for each in report.skipped:
            print(f"{self.name}: {each}", flush=True)
        here.step, here.seconds, here.loss_sum = report.step, here.seconds + seconds, here.loss_sum + report.loss
        evaluates = _is_due(report.step, self.train.steps, self.curve.points)
        samples = _is_due(report.step, self.train.steps, self.train.samples)
        model = self.state.model_on_first() if evaluates or samples else None
        if evaluates:
            self._evaluate(model, report)
        if model and samples:
            self._sample(model, report.step)
        tokens_per_second = report.step * self.train.batch_tokens / here.seconds
        val_loss = f"  val {here.rows[-1]['val_loss']:.3f}" if here.rows else ""
        progress.update(report.step, f"loss {report.loss:.3f}{val_loss}  {tokens_per_second:,.0f} tokens/s")

    def _evaluate(self, model: GPT | None, report: StepReport) -> None:
        here = self.progressed
        since = report.step - (here.rows[-1]["step"] if here.rows else 0)
        here.rows.append({
            "step": report.step,
            "tokens": report.step * self.train.batch_tokens,
            "learning_rate_factor": report.learning_rate_factor,
            "train_loss": here.loss_sum / since,
            "val_loss": distributed.from_first(self._val_loss(model) if model else None),
            "seconds": here.seconds,
        })  # fmt: skip
        here.loss_sum = 0.0
        if model:
            self.checkpoints.keep_best(report.step, here.rows[-1]["val_loss"], dict(model.named_parameters()))

    def _reached_target(self) -> bool:
        """Looked at before a checkpoint is written, so that no resumed run begins there."""
        rows = self.progressed.rows
        return bool(rows) and rows[-1]["val_loss"] <= self.train.target_loss

    def _val_loss(self, model: GPT) -> float:
        with self.state.autocast(), torch.compiler.set_stance("force_eager"):
            losses, counts = window_losses(model, self.val_tokens, self.curve.block_size, self.curve.windows)
        return float(losses.sum() / counts.sum())

    def _sample(self, model: GPT, step: int) -> None:
        prompt = self.tokenizer.encode(self.train.sample_prompt).tolist() or [self.tokenizer.eot_id]
        with self.state.autocast(), torch.compiler.set_stance("force_eager"):
            ids = model.sample(
                prompt, self.train.sample_tokens, 0.8, 50, self.train.seed, stop_id=self.tokenizer.eot_id
            )
        text = self.train.sample_prompt + self.tokenizer.decode(ids)
        self.progressed.samples.append({"step": step, "text": text})

    def _export(self) -> TrainMetrics:
        model = self.state.model_on_first()
        if model:
            self._write_results(model)
        distributed.wait_for_all()
        rows = self.progressed.rows
        return TrainMetrics(
            train_loss=rows[-1]["train_loss"],
            val_loss=rows[-1]["val_loss"],
            steps=self.progressed.step,
            tokens=self.progressed.step * self.train.batch_tokens,
            skipped_batches=len(self.state.guard.skipped),
            parameters=self.state.model.parameter_count(),
        )

    def _write_results(self, model: GPT) -> None:
        rows = self.progressed.rows
        save_export(self.folder / "export", model, self.tokenizer)
        best = self.checkpoints.best
        save_export(self.folder / "best", model, self.tokenizer, best.weights if best else None)
        _write_csv(self.folder / "curve.csv", [{k: v for k, v in row.items() if k != "seconds"} for row in rows])
        # apart from the curve: seconds differ from run to run, all else is the same for the same inputs
        _write_csv(
            self.folder / "timing.csv", [{"step": row["step"], "seconds": round(row["seconds"], 3)} for row in rows]
        )
        samples = [f"## Step {each['step']:,}\n\n```text\n{each['text']}\n```\n" for each in self.progressed.samples]
        write_text(self.folder / "samples.md", "\n".join(samples))
        if settings().finished_states:  # until the result is recorded it can be needed once more
            with Path(settings().finished_states).open("a", encoding="utf-8") as file:
                file.write(f"{self.checkpoints.place}\n")
        else:
            self.checkpoints.clear()


def _is_due(step: int, steps: int, times: int) -> bool:
    """Whether one of `times` evenly spaced moments, the last at the end, falls on `step` (1-based)."""
    return step * times // steps > (step - 1) * times // steps


def code_sha256() -> str:
    """Of the modules that shape a training step: another code never resumes this one's state."""
    names = (
        "batches", "stream_batches", "ahead", "dropout", "guard", "loss", "model", "optim", "train", "checkpoint",
        "distributed", "sharding", "run",
    )  # fmt: skip
    return hashlib.sha256(b"".join(Path(__file__).with_name(f"{each}.py").read_bytes() for each in names)).hexdigest()


def _write_csv(path: Path, rows: list[dict[str, float]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
