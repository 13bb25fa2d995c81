"""Read and plot a training run's loss curve: curve.csv, and timing.csv with the seconds of its steps."""

import csv
from pathlib import Path

from gptcore.files import atomic_path

Curve = list[dict[str, float]]


def read_curve(folder: Path) -> Curve:
    """The rows of curve.csv, each with its `seconds` from timing.csv."""
    with (folder / "curve.csv").open() as curve, (folder / "timing.csv").open() as timing:
        rows = zip(csv.DictReader(curve), csv.DictReader(timing), strict=True)
        return [{key: float(value) for key, value in {**one, **other}.items()} for one, other in rows]


def draw_curves(path: Path, model: Curve, baseline: Curve) -> None:
    """Plot the validation loss of both, over tokens and over seconds of training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), dpi=110, layout="constrained")
    for axes, key, label in zip(
        figure.subplots(1, 2, sharey=True), ("tokens", "seconds"), ("tokens", "seconds"), strict=True
    ):
        for curve, name, color in ((baseline, "nanoGPT baseline", "#888888"), (model, "gptcore", "#c2410c")):
            axes.plot(
                [row[key] for row in curve], [row["val_loss"] for row in curve], color=color, label=name, linewidth=2
            )
        axes.axhline(baseline[-1]["val_loss"], color="#888888", linewidth=1, linestyle=":")
        axes.set_xlabel(f"training {label}")
        axes.locator_params(axis="x", nbins=5)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_formatter("{x:,.0f}")
    figure.axes[0].set_ylabel("validation loss, nats per token")
    figure.axes[0].legend(frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
