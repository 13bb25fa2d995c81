"""Read, join and plot the loss curves of training runs: curve.csv, and timing.csv with the seconds of its steps and
the hardware they took them on."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from gptcore.files import atomic_path


def read_curve(curve: Path, timing: Path) -> pd.DataFrame:
    """A row for each evaluation: step, tokens, learning_rate_factor, train_loss, val_loss (nats per token), seconds.

    Raises ValueError when the two files are not of the same training.
    """
    seconds = pd.read_csv(timing, usecols=["step", "seconds"])
    return pd.read_csv(curve).merge(seconds, how="outer", on="step", validate="one_to_one")


def curves(files: Mapping[str, tuple[Path, Path]]) -> pd.DataFrame:
    """The curves of several runs, name -> (curve.csv, timing.csv), in one table with a column `name`."""
    tables = {name: read_curve(*each) for name, each in files.items()}
    return pd.concat(tables, names=["name"]).reset_index("name").reset_index(drop=True) if tables else pd.DataFrame()


def draw_curves(path: Path, model: pd.DataFrame, baseline: pd.DataFrame) -> None:
    """Validation loss of both, over tokens and over seconds of training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), dpi=110)
    figure.subplots_adjust(0.065, 0.12, 0.98, 0.97, wspace=0.06)
    for axes, key in zip(figure.subplots(1, 2, sharey=True), ("tokens", "seconds"), strict=True):
        for curve, name, color in ((baseline, "baseline", "#888888"), (model, "gptcore", "#c2410c")):
            axes.plot(curve[key], curve["val_loss"], color=color, label=name, linewidth=2)
        if not baseline.empty:
            axes.axhline(baseline["val_loss"].iloc[-1], color="#888888", linewidth=1, linestyle=":")
        axes.set_xlabel(f"training {key}")
        axes.locator_params(axis="x", nbins=5)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_formatter("{x:,.0f}")
    figure.axes[0].set_ylabel("validation loss, nats per token")
    figure.axes[0].legend(frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
