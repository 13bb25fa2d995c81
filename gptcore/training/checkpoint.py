"""Exact resume state: a run's newest checkpoints and, separately, its best weights, written while it trains.

No pickle: tensors are in safetensors, the rest in JSON. SHA256SUMS covers both (`sha256sum -c` reads it) and reveals a
torn or edited checkpoint. A complete checkpoint is never overwritten: each save creates a new entry.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from threading import Thread
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gptcore.errors import UserError
from gptcore.files import read_json, sha256sums
from gptcore.training.config import LAST_STEP
from gptcore.training.host_copy import HostCopy
from gptcore.training.state_store import LAST, StateStore

# A save writes at most one best, so keeping two also keeps the best weights that belong to the older checkpoint
KEPT = 2


def fingerprint(identity: dict[str, Any]) -> str:
    """The name of a run's resume folder: a hash of everything that determines its result."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


@dataclass
class Progressed:
    """The resume state except for tensors. `rows` is the loss curve so far."""

    step: int
    seconds: float
    loss_sum: float
    rows: list[dict[str, Any]]
    samples: list[dict[str, Any]]


@dataclass(frozen=True)
class Best:
    """The weights at the lowest validation loss so far (nats per token), in host memory."""

    step: int
    val_loss: float
    weights: dict[str, Tensor]


class Checkpoints:
    """One run's checkpoints in one store: `step-<step>` and `best-<step>`, the newest `KEPT` of each.

    A save copies the tensors to host memory, on a GPU without waiting (see `HostCopy`); one thread writes them while
    training goes on. A failed write is reported once and does not stop training. Memory: one copy of the state, and at
    most two of the best weights.
    """

    def __init__(self, place: StateStore, identity: dict[str, Any]) -> None:
        self.place, self.identity = place, identity
        self.best: Best | None = None
        self._best_written_step = -1
        self._writer: Thread | None = None
        self._failing = False
        self._state = HostCopy()

    def keep_best(self, step: int, val_loss: float, weights: dict[str, Tensor]) -> None:
        """Keep these weights if they are the best so far; the next save writes them first."""
        if self.best is None or val_loss < self.best.val_loss:
            self.best = Best(step, val_loss, _host_copies(weights))

    def save(self, tensors: dict[str, Tensor], progressed: Progressed, wait: bool = False) -> None:
        """Start writing the current state. Does nothing while the previous save is still being written.

        So training never waits for a slow store; it just gets fewer checkpoints. `wait` is for the last save before
        the process exits: it always writes, and returns when the write is done.
        """
        if wait:
            self.close()
        elif self._writer and self._writer.is_alive():
            return
        content = asdict(progressed)  # a deep copy: the curve keeps growing
        self._state.take(tensors)  # the previous write is done
        self._writer = Thread(target=self._write, args=(content, self.best), name="checkpoint")
        self._writer.start()
        if wait:
            self.close()

    def load(self) -> tuple[dict[str, Tensor], Progressed] | None:
        """Load the newest complete state, or return None. Also restores `best` as of that step.

        Skips damaged checkpoints with a warning. Raises UserError when the checkpoint belongs to another run than
        `identity`, or the store cannot be read.
        """
        self.close()
        found = self._newest("step", LAST_STEP)
        if found is None:
            return None
        tensors, content = found
        progressed = Progressed(**content)
        if (best := self._newest("best", progressed.step)) is not None:
            weights, content = best
            self.best = Best(weights=weights, **content)
            self._best_written_step = self.best.step
        return tensors, progressed

    def close(self) -> None:
        """Wait for the current write to finish."""
        if self._writer:
            self._writer.join()

    def clear(self) -> None:
        """Remove all checkpoints: the run is complete."""
        self.close()
        try:
            self.place.clear()
        except OSError as error:
            print(f"warning: the checkpoints in {self.place} could not be removed: {_cause(error)}", flush=True)

    def _write(self, content: dict[str, Any], best: Best | None) -> None:
        step = content["step"]
        try:
            self._state.wait()
            if best and best.step != self._best_written_step:
                self._write_entry("best", best.weights, {"step": best.step, "val_loss": best.val_loss})
                self._best_written_step = best.step
            self._write_entry("step", self._state.tensors, content)
        except Exception as error:  # a failed checkpoint must not end the run
            if not self._failing:
                remains = "training goes on, and the checkpoint before it stays"
                print(
                    f"warning: step {step:,} could not be written to {self.place}: {_cause(error)}; {remains}",
                    flush=True,
                )
            self._failing = True
        else:
            if self._failing:
                print(f"checkpoints are written to {self.place} again, from step {step:,} on", flush=True)
            self._failing = False

    def _write_entry(self, kind: str, tensors: dict[str, Tensor], content: dict[str, Any]) -> None:
        with self.place.writing(_name(kind, content["step"])) as folder:
            save_file(tensors, folder / "state.safetensors")
            state = json.dumps({"identity": self.identity, "content": content}, indent=2)
            (folder / "state.json").write_text(state, encoding="utf-8")
            (folder / LAST).write_text(sha256sums(folder), encoding="utf-8")
        # drop later entries, which a resumed run has diverged from, and hidden ones, which were never finished
        others = {each for each in self.place.names() if each.lstrip(".").startswith(f"{kind}-")}
        for other in others - set(_newest_first(others, kind, content["step"])[:KEPT]):
            self.place.remove(other)

    def _newest(self, kind: str, last_step: int) -> tuple[dict[str, Tensor], Any] | None:
        try:
            for name in _newest_first(self.place.names(), kind, last_step):
                try:
                    return self._read(name)
                except (ValueError, KeyError, TypeError, SafetensorError, FileNotFoundError) as error:
                    where, why = f"{self.place}/{name}", _cause(error)
                    print(f"warning: checkpoint {where} is damaged ({why}); using the one before it", flush=True)
        except OSError as error:
            raise UserError(f"checkpoints in {self.place} cannot be read: {_cause(error)}; try again later") from None
        return None

    def _read(self, name: str) -> tuple[dict[str, Tensor], Any]:
        with self.place.reading(name) as folder:
            if not (folder / LAST).exists():
                raise ValueError("it was not written to its end")
            if (folder / LAST).read_bytes() != sha256sums(folder).encode():
                raise ValueError("its hash does not match")
            state = read_json(folder / "state.json")
            if state["identity"] != self.identity:
                raise UserError(
                    f"checkpoint {self.place}/{name} belongs to another run "
                    f"({_difference(state['identity'], self.identity)}); delete {self.place} to start anew"
                )
            return load_file(folder / "state.safetensors"), state["content"]


def _host_copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: each.detach().to("cpu", copy=True).contiguous() for name, each in tensors.items()}


def _newest_first(names: Iterable[str], kind: str, last_step: int) -> list[str]:
    return sorted((each for each in names if f"{kind}-" < each <= _name(kind, last_step)), reverse=True)


def _name(kind: str, step: int) -> str:
    return f"{kind}-{step:09d}"


def _cause(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _difference(theirs: dict[str, Any], ours: dict[str, Any], prefix: str = "") -> str:
    for key in sorted(theirs.keys() | ours.keys()):
        one, other = theirs.get(key), ours.get(key)
        if isinstance(one, dict) and isinstance(other, dict) and one != other:
            return _difference(one, other, f"{prefix}{key}.")
        if one != other:
            return f"its {prefix}{key} is {one}, this run's is {other}"
    return "no field differs"
