"""A training run from token files to an exported model: resume, loss curve, samples, signals, progress."""

import gc
import time
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch

from gptcore.closure import code_sha256
from gptcore.config.paths import Paths
from gptcore.config.settings import settings
from gptcore.errors import Stopped, UserError
from gptcore.evaluation.losses import window_losses
from gptcore.generation.chat import Chat, answers
from gptcore.generation.complete import Wish, complete, engine_for
from gptcore.generation.sampling import Sampling
from gptcore.model.config import ModelConfig
from gptcore.model.folder import save_export
from gptcore.model.gpt import GPT
from gptcore.model.lora import merged, trained
from gptcore.model.lora_config import LoraConfig
from gptcore.progress import Progress
from gptcore.ranks import distributed
from gptcore.tokens.token_files import open_tokens, read_meta, stream_sha256, verify_tokens
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.training import sharding
from gptcore.training.checkpoint import Checkpoints, Progressed, fingerprint
from gptcore.training.config import CurveConfig, OptimConfig, TrainConfig, TrainMetrics
from gptcore.training.initial_state import make_ready, new_state
from gptcore.training.memory import garbage_kept, keep_freed_memory
from gptcore.training.points import Points
from gptcore.training.results import write_results
from gptcore.training.state_store import open_state_store
from gptcore.training.stop import StopRequest
from gptcore.training.train import StepReport, fit


@dataclass
class Run:
    """The training run of one model. `name` is its stage; results go to `folder`."""

    name: str
    model: ModelConfig
    optim: OptimConfig
    train: TrainConfig
    curve: CurveConfig
    paths: Paths
    folder: Path
    lora: LoraConfig | None = None
    progressed: Progressed = field(init=False)
    points: Points = field(init=False)

    def __post_init__(self) -> None:
        if self.curve.block_size > self.model.block_size:
            theirs = f"the block_size of {self.name}'s model, {self.model.block_size}"
            raise UserError(f"curve.block_size {self.curve.block_size} is longer than {theirs}")
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
            "code": code_sha256("gptcore.training.run"),
            "torch": torch.__version__,
            **({"lora": self.lora.model_dump(mode="json")} if self.lora else {}),
        }
        theirs = distributed.from_first(self.identity)
        if differing := [name for name, value in self.identity.items() if theirs[name] != value]:
            raise UserError(
                f"not the same here as on rank 0's machine: {', '.join(differing)}; "
                "bring code, params.yaml and data/tokens to one state"
            )
        self.state = new_state(self.model, self.optim, self.train, self.paths, self.lora)
        counted = self.state.counts
        self.trains = f"  {counted.trained:,} of {counted.parameters:,} parameters" if self.lora else ""
        where = settings().checkpoints or self.paths.scratch
        place = open_state_store(f"{where}/{self.name}/{fingerprint(self.identity)}")
        self.kept_models = distributed.from_first(settings().kept_models)  # every rank takes part in each
        self.kept = self.paths.scratch / "models" / self.name / fingerprint(self.identity)
        self.checkpoints = Checkpoints(place, self.identity)
        self._resume()
        make_ready(self.state)
        self.micro_batch = self.state.micro_batch

    def _resume(self) -> None:
        """Restore the first rank's checkpoint on every rank."""
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
        """Train, then write the results. On SIGINT or SIGTERM, writes a checkpoint and raises Stopped."""
        with Points(self.state, self.train.batch_tokens, self.folder / "export") as self.points:
            self.points.begin(self.name, fingerprint(self.identity), self.identity, self.paths)
            self._fit()
            return self._export()

    def _fit(self) -> None:
        stop, saved, optimizer = StopRequest(), time.monotonic(), self.state.optimizer
        started = time.perf_counter()
        showing = Progress(self.name, self.train.steps, "step", self.state.step)
        with closing(self.checkpoints), garbage_kept(), showing as progress:
            (optimizer.measures,) = distributed.any_rank(self._is_told(0.0))
            for report in fit(self.state):
                seconds = time.perf_counter() - started
                self._record(report, seconds, progress)
                if self._reached_target():
                    break
                is_time = distributed.is_first() and time.monotonic() - saved > settings().checkpoint_seconds
                flags = stop.made, is_time, self._is_told(seconds)
                stops, saves, optimizer.measures = distributed.any_rank(*flags)
                if stops or saves:
                    self.save(wait=stops)
                    saved = time.monotonic()
                if stops:
                    distributed.wait_for_all()  # a rank that exits before the checkpoint is written ends the others
                    raise Stopped(f"stopped at step {report.step:,} of {self.train.steps:,}; run it again to go on")
                started = time.perf_counter()

    def _is_told(self, seconds: float) -> bool:
        """Whether trackers hear of the next step; the last one took so many seconds."""
        step, times = self.progressed.step + 1, (self.curve.points, self.train.samples)
        return self.points.is_due(any(_is_due(step, self.train.steps, each) for each in times), seconds)

    def _record(self, report: StepReport, seconds: float, progress: Progress) -> None:
        """Record the step; evaluate and sample if due. `seconds` is the time of the step alone."""
        here = self.progressed
        for each in report.skipped:
            print(f"{self.name}: {each}", flush=True)
        if report.micro_batch < self.micro_batch:
            now = f"{report.micro_batch} sequences go through the model at once instead of {self.micro_batch}"
            print(f"{self.name}: out of memory before step {report.step:,} was done: {now}", flush=True)
            self.micro_batch = report.micro_batch
        here.step, here.seconds, here.loss_sum = report.step, here.seconds + seconds, here.loss_sum + report.loss
        evaluates = _is_due(report.step, self.train.steps, self.curve.points)
        samples = _is_due(report.step, self.train.steps, self.train.samples)
        keeps = _is_due(report.step, self.train.steps, self.kept_models)
        model = self.state.model_on_first() if evaluates or samples or keeps else None
        if evaluates:
            gc.collect()
            self._evaluate(model, report)
        if model and samples:
            self._sample(model, report.step)
        if model and keeps:
            save_export(self.kept / f"step-{report.step}", merged(model), self.tokenizer)
        row = (
            {name: value for name, value in here.rows[-1].items() if name not in ("step", "seconds")}
            if evaluates
            else {}
        )
        self.points.add(report, seconds, row, here.samples[-1]["text"] if model and samples else "")
        tokens_per_second = report.step * self.train.batch_tokens / here.seconds
        val_loss = f"  val {here.rows[-1]['val_loss']:.3f}" if here.rows else ""
        progress.update(
            report.step, f"loss {report.loss:.3f}{val_loss}  {tokens_per_second:,.0f} tokens/s{self.trains}"
        )

    def _evaluate(self, model: GPT | None, report: StepReport) -> None:
        here = self.progressed
        since = report.step - (here.rows[-1]["step"] if here.rows else 0)
        here.rows.append({
            "step": report.step,
            "tokens": report.step * self.train.batch_tokens,
            "learning_rate_factor": report.learning_rate_factor,
            "train_loss": here.loss_sum / since,
            "val_loss": self._val_loss(model),
            "seconds": here.seconds,
        })  # fmt: skip
        here.loss_sum = 0.0
        if model:
            self.checkpoints.keep_best(report.step, here.rows[-1]["val_loss"], trained(model))

    def _reached_target(self) -> bool:
        """Checked before a checkpoint is written, so that no run resumes from a step that reached the target."""
        rows = self.progressed.rows
        return bool(rows) and rows[-1]["val_loss"] <= self.train.target_loss

    def _val_loss(self, model: GPT | None) -> float:
        """Ranks that have the whole model share the windows. Of a sharded one, the first rank has `model`, gathered."""
        shared = not sharding.in_parts(self.state.model.wte.weight)
        model = self.state.model if shared else model
        loss = None
        if model:
            with self.state.autocast(), torch.compiler.set_stance("force_eager"):
                wanted = (self.curve.block_size, self.curve.windows)
                losses, counts = window_losses(model, self.val_tokens, *wanted, shared)
            loss = float(losses.sum() / counts.sum())
        return float(distributed.from_first(loss))

    def _sample(self, model: GPT, step: int) -> None:
        wish = Wish(self.train.sample_tokens, Sampling(top_k=50, seed=self.train.seed), slides=True)
        engine = engine_for(merged(model), self.tokenizer, 1)
        said = self.train.sample_prompt
        if self.tokenizer.chat_template:
            (answer,) = answers(Chat(engine, self.tokenizer, replace(wish, slides=False)), [said])
            text = f"> {said}\n{answer}"
        else:
            (done,) = complete(engine, self.tokenizer, [said], wish)
            text = done.prompt + done.text
        self.progressed.samples.append({"step": step, "text": text})

    def _end_resume_state(self) -> None:
        if settings().finished_states:  # it may be needed again until the result is recorded
            with Path(settings().finished_states).open("a", encoding="utf-8") as file:
                file.write(f"{self.checkpoints.place}\n")
        else:
            self.checkpoints.clear()

    def _export(self) -> TrainMetrics:
        model = self.state.model_on_first()
        if model:
            best = self.checkpoints.best
            weights, base_sha256 = best.weights if best else None, self.train.start_sha256
            write_results(self.folder, model, weights, self.tokenizer, self.progressed, self.lora, base_sha256)
            self._end_resume_state()
            if self.kept_models:
                print(f"{self.name}: kept {self.kept_models} models in {self.kept}", flush=True)
        distributed.wait_for_all()
        rows = self.progressed.rows
        return TrainMetrics(
            train_loss=rows[-1]["train_loss"],
            val_loss=rows[-1]["val_loss"],
            steps=self.progressed.step,
            tokens=self.progressed.step * self.train.batch_tokens,
            skipped_batches=len(self.state.guard.skipped),
            records_left_out=self.state.batches.left_out,
            parameters=self.state.counts.parameters,
            trained_parameters=self.state.counts.trained,
        )


def _is_due(step: int, steps: int, times: int) -> bool:
    """Whether one of `times` evenly spaced points, the last at the end, falls on `step` (1-based)."""
    return step * times // steps > (step - 1) * times // steps
