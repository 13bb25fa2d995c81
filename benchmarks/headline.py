"""Loss at equal tokens, over seeds: nanoGPT as published, tuned, and at our size; ours at its size, and ours.

Reads the model, the recipe and the tokens of params.yaml and data/tokens (`dvc repro tokenize`), so it measures the
corpus that is configured there. nanoGPT's side is the section `baseline` of params.yaml in nanoGPT's own code. Every
run sees as many tokens, and all are evaluated in float32 on all whole windows of the validation tokens. The best
rate is the one with the lowest validation loss of the first seed, which favours nanoGPT. Each run is a cell and is kept
as it ends, in data/scratch/benchmarks/headline; started again, the command runs only the cells that are missing.
"""

import statistics
from dataclasses import replace

import torch
from cells import FIRST_SEED, FOLDER, PATHS, Cell, Cells, by_seed, interval, measure, our_cell, setting
from contest import Contest, Measured, Medians, precisions
from sides import ROOT

from gptcore.config.params import read_params, validate_section
from gptcore.config.plain_yaml import load_yaml
from gptcore.errors import UserError
from gptcore.model.config import ModelConfig
from gptcore.model.counts import counts

SWEEP = (1e-3, 2e-3, 4e-3, 8e-3)  # learning rates of nanoGPT
NANOGPT = "nanoGPT"
WITHOUT_TABLES = ROOT / "conf/experiment/without_tables.yaml"


class Headline:
    """The rows of the table, from the sections of params.yaml."""

    def __init__(self, contest: Contest) -> None:
        self.contest, self.cells = contest, Cells(contest, FOLDER / "headline")
        self.vocab_size, values = self.cells.vocab_size, read_params(PATHS.params)
        self.values, self.baseline = values, values["baseline"]
        self.ours = validate_section(values, "model", ModelConfig)
        self.theirs = validate_section({"baseline.model": self.baseline["model"]}, "baseline.model", ModelConfig)
        self.steps = contest.arguments.steps or values["train"]["steps"]
        chosen = contest.arguments.precision
        # on a CPU nanoGPT's train.py knows float32 only
        self.nanogpt = f"nanogpt {chosen or (precisions()[-1] if torch.cuda.is_available() else 'float32')}"
        self.gptcore = f"gptcore {chosen or precisions()[-1]}"

    def report(self, medians: Medians) -> list[str]:
        """The table's lines; `medians` gets its figures."""
        their_size, our_size = (counts(each, self.vocab_size).parameters for each in (self.theirs, self.ours))
        wide = self._fitted(self.theirs, our_size)
        without = load_yaml(WITHOUT_TABLES.read_text("utf-8"))
        small = self._fitted(self.ours.model_copy(update=without["model"]), their_size)
        recipe = tuple(f"optim.{field}={value}" for field, value in without["optim"].items())
        best, equal = f"{NANOGPT} at its best rate", f"ours at nanoGPT's parameters, {small.n_embd} wide"
        rows = {
            f"{NANOGPT} as published": self._theirs(self.theirs, self.baseline["optim"]["matrix_learning_rate"]),
            best: self._best(self.theirs),
            f"{NANOGPT} at our parameters, {wide.n_embd} wide, best rate": self._best(wide),
            equal: self._ours(small, recipe),
            "ours": self._ours(self.ours),
        }
        seeds = range(FIRST_SEED, FIRST_SEED + self.contest.arguments.seeds)
        runs = {label: [self._run(replace(cell, seed=seed)) for seed in seeds] for label, cell in rows.items()}
        medians["headline"] = by_seed({f"{label} ({rows[label].side})": found for label, found in runs.items()})
        tokens = self.steps * self.values["train"]["batch_tokens"]
        return [
            f"{tokens:,} tokens each; nanoGPT's rates tried: {SWEEP}; ± is 95 % over {len(seeds)} seeds",
            *(_row(label, rows[label], found) for label, found in runs.items()),
            _difference(equal, best, runs),
            *(_difference("ours", label, runs) for label in runs if label.startswith(NANOGPT)),
        ]

    def _best(self, model: ModelConfig) -> Cell:
        cells = [self._theirs(model, rate) for rate in SWEEP]
        return min(cells, key=lambda cell: self._run(cell)["loss"])

    def _theirs(self, model: ModelConfig, learning_rate: float) -> Cell:
        batch, tokens = self.baseline["batch_tokens"], self.steps * self.values["train"]["batch_tokens"]
        beta2 = self.baseline["optim"]["adam_betas"][1]
        size = setting(model, batch, self.vocab_size)
        return Cell(self.nanogpt, size, max(round(tokens / batch), 1), learning_rate=learning_rate, beta2=beta2)

    def _ours(self, model: ModelConfig, recipe: tuple[str, ...] = ()) -> Cell:
        cell = our_cell(self.gptcore, model, self.values, self.vocab_size, self.steps)
        return replace(cell, recipe=cell.recipe + recipe)

    def _fitted(self, model: ModelConfig, parameters: int) -> ModelConfig:
        """`model` in the width that has the nearest number of parameters."""
        step = 2 * model.n_head  # rotary positions need an even head width
        widths = [model.model_copy(update={"n_embd": width}) for width in range(step, 4 * model.n_embd + 1, step)]
        return min(widths, key=lambda each: abs(counts(each, self.vocab_size).parameters - parameters))

    def _run(self, cell: Cell) -> Measured:
        return self.cells.run(cell, f"{cell.size.n_embd} wide, rate {cell.learning_rate or 'ours'}")


def _row(label: str, cell: Cell, runs: list[Measured]) -> str:
    loss, bits = ([run[figure] for run in runs] for figure in ("loss", "bits_per_byte"))
    rate = f", rate {cell.learning_rate:g}" if cell.learning_rate else ""
    seconds = statistics.median(run["seconds"] for run in runs)
    return (
        f"{label + rate:58} loss {statistics.mean(loss):.4f} ± {interval(loss):.4f}  "
        f"bits per byte {statistics.mean(bits):.4f} ± {interval(bits):.4f}  "
        f"{runs[0]['parameters']:>12,} parameters  {seconds:8,.1f} s  {cell.side}"
    )


def _difference(one: str, other: str, runs: dict[str, list[Measured]]) -> str:
    ours, theirs = ([run["loss"] for run in runs[label]] for label in (one, other))
    difference = statistics.mean(ours) - statistics.mean(theirs)
    return f"{one} - {other}: {difference:+.4f} ± {interval(ours, theirs):.4f} nats"


if __name__ == "__main__":
    contest = Contest(
        __file__, __doc__ or "", measure, [], ["headline"],
        {"--seeds": (3, "runs of each row"), "--steps": (0, "of ours, instead of train.steps; nanoGPT as many tokens")},
    )  # fmt: skip
    try:
        contest.run(lambda medians: Headline(contest).report(medians))
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
