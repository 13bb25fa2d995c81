"""Loss by position in the context, as a table and a picture: how much a model makes of the tokens before."""

from pathlib import Path

import numpy as np
import pandas as pd

from gptcore.evaluation.tally import Sums
from gptcore.files import atomic_path

POINTS_PER_DOUBLING = 4


def by_position(model: Sums, baseline: Sums) -> pd.DataFrame:
    """A row for each number of tokens before the target: how many targets have it, mean losses in nats per token.

    Positions that no window scores, those before the stride, have no row. A baseline with another tokenizer has other
    tokens: each side's loss is the mean of its own.
    """
    before = np.flatnonzero(model.tokens)
    tokens = model.tokens[before]
    return pd.DataFrame({
        "tokens_before": before + 1,
        "tokens": tokens,
        "model_loss": model.losses[before] / tokens,
        "baseline_loss": baseline.losses[before] / np.maximum(baseline.tokens[before], 1),
    })  # fmt: skip


def write_positions(folder: Path, model: Sums, baseline: Sums) -> None:
    """Write position.csv and position.png."""
    table = by_position(model, baseline)
    with atomic_path(folder / "position.csv") as temporary:
        table.to_csv(temporary, index=False)
    _draw(folder / "position.png", table)


def smoothed(table: pd.DataFrame) -> pd.DataFrame:
    """Neighbouring positions averaged, more of them the further back they reach: as many points per doubling."""
    group = np.round(np.log2(table["tokens_before"]) * POINTS_PER_DOUBLING)
    sums = table.mul(table["tokens"], axis=0).assign(tokens=table["tokens"]).groupby(group).sum()
    means = sums.div(sums["tokens"], axis=0)
    # with a short stride, only the first window scores the first positions: its single tokens would hide the curve
    return means[sums["tokens"] > sums["tokens"].max() / 100]


def _draw(path: Path, table: pd.DataFrame) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), dpi=110)
    axes = figure.add_axes((0.065, 0.12, 0.915, 0.85))
    table = smoothed(table)
    for name, label, color in (("baseline", "baseline", "#888888"), ("model", "gptcore", "#c2410c")):
        axes.plot(table["tokens_before"], table[f"{name}_loss"], color=color, label=label, linewidth=2, marker=".")
    if table["tokens_before"].max() > 4 * table["tokens_before"].min():  # else the axis would have no label
        axes.set_xscale("log", base=2)
    axes.set_xlabel("tokens before, in the window")
    axes.set_ylabel("validation loss, nats per token")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
