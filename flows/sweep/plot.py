"""A sweep as a picture: a scatter plot of one varied value, parallel coordinates of several."""

import io
import math
from typing import Any

import pandas as pd

from gptcore.evaluation.runs import varied

RESULT = "bits per byte"
MANY = 8  # more tick marks on one axis are unreadable


def draw(table: pd.DataFrame) -> bytes:
    """A PNG of a row per run, the best first: a column for each swept parameter, and the result."""
    from matplotlib.figure import Figure

    swept = varied(table, table.columns.drop(RESULT))
    figure = Figure(figsize=(max(6.5, 2.6 * len(swept) + 2.6), 4.2), dpi=110, layout="constrained")
    axes = figure.subplots()
    if len(swept) == 1:
        _scatter(axes, swept[0], list(table[swept[0]]), list(table[RESULT]))
    else:
        _parallel(axes, {name: list(table[name]) for name in (*swept, RESULT)})
    axes.spines[["top", "right"]].set_visible(False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _scatter(axes: Any, name: str, column: list[Any], bits_per_byte: list[float]) -> None:
    places, marks = _scale(column)
    axes.scatter(places, bits_per_byte, color="#888888", s=50)
    axes.scatter(places[:1], bits_per_byte[:1], color="#c2410c", s=90, label="best")
    axes.set_xticks(list(marks), list(marks.values()))
    axes.set_xlabel(name)
    axes.set_ylabel(RESULT)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)


def _parallel(axes: Any, columns: dict[str, list[Any]]) -> None:
    """A line for each run across a vertical axis for each parameter, from yellow (worst) to violet (best)."""
    from matplotlib import colormaps

    scales = [_scale(column) for column in columns.values()]
    for line in reversed(list(zip(*(places for places, _ in scales), strict=True))):
        axes.plot(line, color=colormaps["plasma"](0.9 * line[-1]), linewidth=1.5)
    for x, (_, marks) in enumerate(scales):
        axes.axvline(x, color="#444444", linewidth=1)
        for y, label in marks.items():
            axes.annotate(label, (x, y), xytext=(4, 2), textcoords="offset points", fontsize=8)
    axes.set_xticks(range(len(columns)), list(columns))
    axes.set_yticks([])
    axes.margins(x=0.08)
    axes.spines["left"].set_visible(False)


def _scale(column: list[Any]) -> tuple[list[float], dict[float, str]]:
    """Each value's position from 0 to 1, and the tick marks; numbers are to scale (logarithmic over a wide range)."""
    numbers = [float(value) for value in column if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(column):
        order = list(dict.fromkeys(map(str, column)))
        marks = {each: place / max(len(order) - 1, 1) for place, each in enumerate(order)}
        return [marks[str(value)] for value in column], {place: each for each, place in marks.items()}
    low, high = min(numbers), max(numbers)
    if low > 0 and high / low >= 10:
        places = [math.log(each / low) / math.log(high / low) for each in numbers]
    else:
        places = [(each - low) / ((high - low) or 1) for each in numbers]
    labels = {place: f"{each:.6g}" for place, each in sorted(zip(places, numbers, strict=True))}
    step = -(-len(labels) // MANY)
    return places, dict(list(labels.items())[::step])
