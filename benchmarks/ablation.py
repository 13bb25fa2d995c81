"""What each part of the recipe is worth: the loss, the parameters and the seconds of a step without it, over seeds.

Reads the model, the recipe and the tokens of params.yaml and data/tokens, as headline.py does. Every run sees as many
tokens. Runs with the same seed are paired. Each run is kept in data/scratch/benchmarks/ablation as it ends; started
again, the command runs only the ones that are missing.
"""

import statistics
from dataclasses import replace

from cells import FIRST_SEED, FOLDER, PATHS, Cells, by_seed, interval, measure, our_cell
from contest import Contest, Measured, Medians, precisions

from gptcore.config.params import read_params, validate_section
from gptcore.errors import UserError
from gptcore.model.config import ModelConfig

WHOLE = "the whole recipe"
ADAMW = ("optim.matrices=adamw", "optim.matrix_learning_rate=0.004", "optim.matrix_weight_decay=0.1")
PARTS = {  # without it -> overrides
    "Muon (AdamW at 0.004)": ADAMW,
    "cautious weight decay": ("optim.matrix_weight_decay=0.0",),
    "warm-up of Muon's momentum": ("optim.muon_momentum_warmup_steps=0",),
    "long cool-down (0.6 to 0.2)": ("optim.cooldown_fraction=0.2",),
    "whole epochs (random crops)": ("train.order=crops",),
    "RMSNorm (LayerNorm)": ("model.norm=layernorm",),
    "RoPE (learned positions)": ("model.position=learned",),
    "ReLU squared (GELU)": ("model.activation=gelu",),
    "QK-norm": ("model.qk_norm=false",),
    "zero initialisation": ("model.zero_init=false",),
    "norm after the embedding": ("model.embedding_norm=false",),
    "residual scalars": ("model.residual_scalars=false",),
    "value embeddings": ("model.value_embeddings=false",),
    "bigram table": ("model.bigram_buckets=0",),
    "logit soft-cap": ("model.logit_softcap=0.0",),
    "untied head": ("model.tied_head=true",),
}


def report(contest: Contest, medians: Medians) -> list[str]:
    """The table's lines, the dearest part first; `medians` gets its figures."""
    cells, values, arguments = Cells(contest, FOLDER / "ablation"), read_params(PATHS.params), contest.arguments
    model, steps = validate_section(values, "model", ModelConfig), arguments.steps or values["train"]["steps"]
    side = f"gptcore {arguments.precision or precisions()[-1]}"
    whole = our_cell(side, model, values, cells.vocab_size, steps)
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.seeds)
    rows = {WHOLE: whole, **{part: replace(whole, recipe=whole.recipe + off) for part, off in PARTS.items()}}
    runs: dict[str, list[Measured]] = {label: [] for label in rows}
    for seed in seeds:  # so that an interrupted table has its first seed whole
        for label, cell in rows.items():
            runs[label].append(cells.run(replace(cell, seed=seed), label))
    medians["ablation"] = by_seed(runs)
    dearest = sorted(PARTS, key=lambda part: -statistics.mean(_differences(runs[part], runs[WHOLE])))
    tokens = whole.steps * whole.size.batch_tokens
    return [
        f"{tokens:,} tokens each, {whole.side.split()[1]}; ± is 95 % over {len(seeds)} seeds, paired by seed",
        _row(WHOLE, runs[WHOLE], runs[WHOLE]),
        *(_row(f"without {part}", runs[part], runs[WHOLE]) for part in dearest),
    ]


def _differences(runs: list[Measured], whole: list[Measured]) -> list[float]:
    return [one["loss"] - other["loss"] for one, other in zip(runs, whole, strict=True)]


def _row(label: str, runs: list[Measured], whole: list[Measured]) -> str:
    lost, loss = _differences(runs, whole), statistics.mean(run["loss"] for run in runs)
    milliseconds = 1_000 * statistics.median(run["seconds"] / run["steps"] for run in runs)
    return (
        f"{label:40} loss {loss:.4f}  {statistics.mean(lost):+.4f} ± {interval(lost):.4f}  "
        f"{runs[0]['parameters']:>12,} parameters  {milliseconds:7,.1f} ms a step"
    )


if __name__ == "__main__":
    contest = Contest(
        __file__, __doc__ or "", measure, [], ["ablation"],
        {"--seeds": (3, "runs of each row"), "--steps": (0, "instead of train.steps")},
    )  # fmt: skip
    try:
        contest.run(lambda medians: report(contest, medians))
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
