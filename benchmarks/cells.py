"""Trainings of a benchmark that are kept as they end: the same command goes on with those that are missing."""

import hashlib
import json
import math
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contest import Contest, Measured, processor
from scipy.special import stdtrit  # type: ignore[import-untyped]
from sides import ROOT, Setting, Tokens, gptcore_side, nanogpt_side, validation_loss

from gptcore.closure import closure
from gptcore.config.paths import Paths
from gptcore.corpus.split import Split
from gptcore.files import read_json, write_json
from gptcore.model.config import ModelConfig
from gptcore.tokens.token_files import open_tokens, read_meta, verify_tokens

PATHS = Paths(ROOT)
FOLDER = ROOT / "data" / "scratch" / "benchmarks"
FIRST_SEED = 1337
ELSEWHERE = {"steps", "batch_tokens", "precision", "seed"}  # fields of `train` that a cell sets itself


@dataclass(frozen=True)
class Cell:
    """One run: everything that its result depends on but tokens, code and machine."""

    side: str  # with its precision, as in contest.py
    size: Setting
    steps: int
    recipe: tuple[str, ...] = ()  # overrides of our side
    learning_rate: float = 0.0  # nanoGPT's
    beta2: float = 0.0  # nanoGPT's
    seed: int = FIRST_SEED


def setting(model: ModelConfig, batch_tokens: int, vocab_size: int) -> Setting:
    names = ("n_layer", "n_head", "n_embd", "block_size", "dropout")
    fields = {name: getattr(model, name) for name in names}
    return Setting(**fields, batch_size=batch_tokens // model.block_size, vocab_size=vocab_size)


def our_cell(side: str, model: ModelConfig, values: dict[str, Any], vocab_size: int, steps: int) -> Cell:
    """`model` with the recipe of `values`, which are those of params.yaml."""
    train = {field: value for field, value in values["train"].items() if field not in ELSEWHERE}
    sections = {"model": model.model_dump(), "optim": values["optim"], "train": train}
    recipe = [f"{name}.{field}={json.dumps(value)}" for name, all_ in sections.items() for field, value in all_.items()]
    return Cell(side, setting(model, values["train"]["batch_tokens"], vocab_size), steps, tuple(recipe))


def by_seed(runs: dict[str, list[Measured]]) -> dict[str, Measured]:
    """The figures of rows, whose runs are those of consecutive seeds, as a contest keeps them."""
    return {f"{label}, seed {seed}": run for label, found in runs.items() for seed, run in enumerate(found, FIRST_SEED)}


def measure(side: str, setting: str, nanogpt_folder: Path | None) -> Measured:
    """Train and evaluate the cell that `setting` is, as JSON."""
    values = json.loads(setting)
    cell = Cell(**{**values, "size": Setting(**values["size"])})
    name, precision = side.split()
    train, val = (_ids(split) for split in ("train", "val"))
    if name == "gptcore":
        recipe = [*cell.recipe, f"train.seed={cell.seed}"]
        contestant = gptcore_side("modern", cell.size, train, cell.steps, precision, recipe)
    else:
        rates = (cell.learning_rate, cell.beta2)
        contestant = nanogpt_side(nanogpt_folder, cell.size, train, cell.steps, precision, *rates, cell.seed)
    started = time.perf_counter()
    for _ in range(cell.steps):
        contestant.step()
    seconds = time.perf_counter() - started
    length = cell.size.block_size
    loss = validation_loss(contestant, val, length, len(val) // length - 1)
    return {
        "loss": loss,
        "bits_per_byte": loss / math.log(2) * (len(val) - 1) / read_meta(PATHS.tokens).val.bytes,
        "parameters": sum(each.numel() for each in contestant.model.parameters()),
        "seconds": seconds,
        "steps": cell.steps,
    }


def _ids(split: Split) -> Tokens:
    tokens = open_tokens(PATHS.tokens, split)
    return tokens[np.arange(len(tokens))]


class Cells:
    """Runs the cells of a contest on data/tokens; `folder` keeps them. Raises UserError if there are no tokens."""

    def __init__(self, contest: Contest, folder: Path) -> None:
        verify_tokens(PATHS.tokens)
        meta = read_meta(PATHS.tokens)
        self.contest, self.folder = contest, folder
        self.tokens_sha256, self.vocab_size = meta.train.sha256 + meta.val.sha256, meta.vocab_size

    def run(self, cell: Cell, label: str) -> Measured:
        """The figures of a cell, kept from an earlier call if nothing has changed since."""
        key = {
            "cell": asdict(cell), "tokens": self.tokens_sha256, "code": self._code(cell.side),
            "processor": processor(), "torch": torch.__version__, "environment": self.contest.where()["environment"],
            "under_load": self.contest.arguments.under_load,
        }  # fmt: skip
        path = self.folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}.json"
        if path.exists():
            kept: Measured = read_json(path)["measured"]
            return kept
        measured = self.contest.child(cell.side, json.dumps(asdict(cell)))
        write_json(path, {**key, **self.contest.where(), "measured": measured})
        figures = "  ".join(f"{name} {value:,.5g}" for name, value in measured.items())
        print(f"{label}, {cell.side}, seed {cell.seed}: {figures}", flush=True)
        return measured

    def _code(self, side: str) -> str:
        """A hash of the modules that make the result."""
        folder = self.contest.arguments.nanogpt
        own = side.startswith("nanogpt") and folder
        code = [folder / "model.py"] if own else [ROOT / path for path in sorted(closure("gptcore.training.train"))]
        return hashlib.sha256(b"".join(each.read_bytes() for each in [*code, ROOT / "benchmarks/sides.py"])).hexdigest()


def interval(*groups: list[float]) -> float:
    """Half of the 95 % interval of the mean of one group, or of the difference of two means; NaN for a single value.

    Student's t, for two groups Welch's: the seeds of two rows have nothing in common.
    """
    if any(len(values) < 2 for values in groups):
        return math.nan
    squares = [statistics.variance(values) / len(values) for values in groups]
    freedom = [square**2 / (len(values) - 1) for square, values in zip(squares, groups, strict=True)]
    if not sum(squares):
        return 0.0
    return float(stdtrit(sum(squares) ** 2 / sum(freedom), 0.975)) * math.sqrt(sum(squares))
