"""Charts in the colours of the report page, as Vega-Lite specifies them (https://vega.github.io/vega-lite/docs).

Altair would write the same: it checks each against a schema, which takes a tenth of a second for every chart drawn.
"""

from typing import Any

import pandas as pd
import streamlit as st

from lab.read.experiments import places, shown

Spec = dict[str, Any]
HEIGHT, AXIS, LEGEND = 260, 56, 80
MOST_TOLD = 5  # values of an axis that are written down; of more, the first and the last
SIDES = ("model", "baseline")


def side_colors() -> list[str]:
    """Of the model and its baseline, on a light and on a dark page."""
    return ["#fb923c", "#a8a29e"] if is_dark() else ["#c2410c", "#78716c"]


def is_dark() -> bool:
    return st.context.theme.type == "dark"


def _chart(layers: list[Spec], height: int, **datasets: pd.DataFrame) -> Spec:
    """Layers over each other, each with one of the `datasets`."""
    # Streamlit's grey has too little contrast for what is written at axes and in legends
    ink = "#d6d3d1" if is_dark() else "#57534e"
    legible = {"labelColor": ink, "titleColor": ink}
    config = {"axis": legible, "legend": legible}
    return {"layer": layers, "height": height, "config": config, "datasets": datasets}


def _layer(data: str, mark: str, encoding: Spec, **style: Any) -> Spec:
    return {"data": {"name": data}, "mark": {"type": mark, **style}, "encoding": encoding}


def _number(name: str, **more: Any) -> Spec:
    """How a column of numbers is shown; `_word` one of words."""
    return {"field": name, "type": "quantitative", **more}


def _word(name: str, **more: Any) -> Spec:
    return {"field": name, "type": "nominal", **more}


def losses(table: pd.DataFrame, over: str, marks: pd.DataFrame | None = None) -> Spec:
    """Validation loss of model and baseline; `table` has the columns `over`, val_loss and side."""
    scale = {"domain": [*SIDES], "range": side_colors()}
    color = _word("side", title=None, scale=scale, legend={"orient": "top"})
    return _curves(table, over, "val_loss", "validation loss, nats", color, marks)


def single(table: pd.DataFrame, over: str, value: str, title: str, marks: pd.DataFrame | None = None) -> Spec:
    return _curves(table, over, value, title, {"value": side_colors()[0]}, marks)


def several(table: pd.DataFrame, over: str, value: str, title: str) -> Spec:
    """A line for each `name`."""
    color = _word("name", title=None, legend={"orient": "bottom", "columns": 2, "labelLimit": 260})
    rows = -(-table["name"].nunique() // 2)
    return _curves(table, over, value, title, color, height=HEIGHT + 40 + 20 * rows)


def _curves(
    table: pd.DataFrame, over: str, value: str, title: str, color: Spec, marks: pd.DataFrame | None = None,
    height: int = HEIGHT,
) -> Spec:  # fmt: skip
    """With a rule where the guard has left out a batch."""
    columns = [each for each in (over, value, "side", "name") if each in table]
    known = table[columns].dropna()
    x = _number(over, axis={"format": "~s", "grid": False})
    y = _number(value, title=title, scale={"zero": False})
    tooltip = [(_word if each in ("side", "name") else _number)(each) for each in columns]
    point = {"size": 18} if len(known) < 80 else False
    lines = _layer("curves", "line", {"x": x, "y": y, "color": color, "tooltip": tooltip}, point=point)
    if marks is None or marks[over].isna().all():
        return _chart([lines], height, curves=known)
    told = {"step": "at step", "loss": "its loss", "back_to": "back to step", "batch": "without batch"}
    tooltip = [_number(name, title=title) for name, title in told.items()]
    style = {"strokeDash": [3, 3], "strokeWidth": 1.5, "color": "#f87171" if is_dark() else "#b91c1c"}
    rules = _layer("marks", "rule", {"x": _number(over), "tooltip": tooltip}, **style)
    return _chart([lines, rules], height, curves=known, marks=marks)


def parallel(table: pd.DataFrame, columns: list[str], best: str) -> Spec:
    """A line for each run through its values of `columns` and its figure; the lower `best`, the more orange.

    The axes lie under each other, with their names above them, so that there is room for these on a telephone. The
    values of a column lie evenly in their order; the figure has its own scale, on which less is on the left.
    """
    quiet, ink, page = ("#78716c", "#d6d3d1", "#1c1917") if is_dark() else ("#8b8580", "#57534e", "#fafaf9")
    order = [*map(_title, columns), best]
    found = _points(table, columns, best)
    x = _number("place", axis=None, scale={"domain": [-0.02, 1.02]})
    hidden = {"title": None, "labels": False, "ticks": False, "domain": False, "grid": True}
    y = _word("axis", sort=order, axis=hidden)
    tones = {"range": [side_colors()[0], quiet]}
    color = _number("figure", scale=tones, legend={"orient": "top", "title": best})
    tooltip = [
        *(_word(each) for each in ("run", "axis", "value")),
        _number("figure", title=best, format=".4f"),
    ]
    line = {"x": x, "y": y, "color": color, "tooltip": tooltip, "detail": _word("run"),
            "order": _number("number")}  # fmt: skip
    layers = [_layer("points", "line", line, point=True, opacity=0.75)]
    at_ends = {"expr": "datum.place < 0.1 ? 'left' : datum.place > 0.9 ? 'right' : 'center'"}
    value, name = ({"x": x, "y": y, "text": _word(each)} for each in ("value", "axis"))
    halos: list[Spec] = [{"stroke": page, "strokeWidth": 4}, {}]  # else lines go through what is written
    for halo in halos:
        layers += [
            _layer("told", "text", value, align=at_ends, dy=15, fontSize=11, color=ink, **halo),
            _layer("names", "text", name, align="left", dy=-15, fontSize=12, fontWeight="bold", color=ink, **halo),
        ]
    told = found[found["told"]].drop_duplicates(["axis", "value"])
    names = pd.DataFrame({"axis": order, "place": 0.0})
    return _chart(layers, LEGEND + AXIS * len(order), points=found, told=told, names=names)


def _points(table: pd.DataFrame, columns: list[str], best: str) -> pd.DataFrame:
    """A row for each run and axis; `told` are the values that are written down."""
    rows = []
    figures = table[best]
    low, high = figures.min(), figures.max()
    for number, name in enumerate(columns):
        known = places(table[name])
        for run, value in table[name].map(shown).items():
            is_told = len(known) <= MOST_TOLD or known[value] in (0, 1)
            rows.append((str(run), _title(name), number, known[value], value, figures[run], is_told))
    for run, figure in figures.items():
        place = 0.5 if high == low else (figure - low) / (high - low)
        rows.append((str(run), best, len(columns), place, f"{figure:.3f}", figure, figure in (low, high)))
    return pd.DataFrame(rows, columns=["run", "axis", "number", "place", "value", "figure", "told"])


def _title(name: str) -> str:
    """Of an axis; a dot in it would be a path to Vega."""
    return name.replace(".", " ")
