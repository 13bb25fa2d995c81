"""Loss by position in the context, as a table and a picture: how much a model makes of the tokens before."""

from pathlib import Path

import numpy as np
import pandas as pd

from gptcore.evaluation.tally import Sums
from gptcore.files import atomic_path


def by_position(model: Sums, baseline: Sums) -> pd.DataFrame:
    """A row for each number of tokens before the target: how many targets have it, mean losses in nats per token.

    Positions that no window scores, those before the stride, have no row.
    """
    before = np.flatnonzero(model.tokens)
    tokens = model.tokens[before]
    return pd.DataFrame({
        "tokens_before": before + 1,
        "tokens": tokens,
        "model_loss": model.losses[before] / tokens,
        "baseline_loss": baseline.losses[before] / tokens,
    })  # fmt: skip


def write_positions(folder: Path, model: Sums, baseline: Sums) -> None:
    """Write position.csv and position.png."""
    table = by_position(model, baseline)
    with atomic_path(folder / "position.csv") as temporary:
        table.to_csv(temporary, index=False)
    _draw(folder / "position.png", table)


def _draw(path: Path, table: pd.DataFrame) -> None:
    from matplotlib.figure import Figure

    # with a short stride, only the first window scores the first positions: single tokens would hide the curve
    table = table[table["tokens"] * 10 >= table["tokens"].max()]
    figure = Figure(figsize=(11, 4.5), dpi=110, layout="constrained")
    axes = figure.subplots()
    for key, name, color in (
        ("baseline_loss", "nanoGPT baseline", "#888888"),
        ("model_loss", "gptcore", "#c2410c"),
    ):
        axes.plot(table["tokens_before"], table[key], color=color, label=name, linewidth=2)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("tokens before, in the window")
    axes.set_ylabel("validation loss, nats per token")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
