"""Charts in the colours of the report page."""

from collections.abc import Callable
from operator import attrgetter
from types import FunctionType
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from lab.read.experiments import places, shown

HEIGHT, AXIS, LEGEND = 260, 56, 80
MOST_TOLD = 5  # values of an axis that are written down; of more, the first and the last
SIDES = ("model", "baseline")


def draw(chart: Callable[..., Any], *given: Any) -> None:
    """Show what `chart` makes of `given`; what the page has drawn before is not made again."""
    st.vega_lite_chart(_spec(chart, is_dark(), *given), width="stretch")


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs={FunctionType: attrgetter("__name__")})
def _spec(chart: Callable[..., Any], dark: bool, *given: Any) -> dict[str, Any]:
    """Altair takes a tenth of a second for it, most of which checks it; the colours of a chart depend on `dark`."""
    with alt.data_transformers.enable("default", max_rows=None):
        found: dict[str, Any] = chart(*given).to_dict()
    return found


def side_colors() -> list[str]:
    """Of the model and its baseline, on a light and on a dark page."""
    return ["#fb923c", "#a8a29e"] if is_dark() else ["#c2410c", "#78716c"]


def is_dark() -> bool:
    return st.context.theme.type == "dark"


def _legible(chart: Any) -> Any:
    """Streamlit's grey has too little contrast for what is written at axes and in legends."""
    ink = "#d6d3d1" if is_dark() else "#57534e"
    return chart.configure_axis(labelColor=ink, titleColor=ink).configure_legend(labelColor=ink, titleColor=ink)


def losses(table: pd.DataFrame, over: str, marks: pd.DataFrame | None = None) -> Any:
    """Validation loss of model and baseline; `table` has the columns `over`, val_loss and side."""
    scale = alt.Scale(domain=SIDES, range=side_colors())
    color = alt.Color("side:N", title=None, scale=scale, legend=alt.Legend(orient="top"))
    return _legible(_marked(_lines(table, over, "val_loss", "validation loss, nats").encode(color=color), over, marks))


def single(table: pd.DataFrame, over: str, value: str, title: str, marks: pd.DataFrame | None = None) -> Any:
    lines = _lines(table, over, value, title).encode(color=alt.value(side_colors()[0]))
    return _legible(_marked(lines, over, marks))


def _marked(lines: Any, over: str, marks: pd.DataFrame | None) -> Any:
    """With a rule where the guard has left out a batch."""
    if marks is None or marks[over].isna().all():
        return lines
    told = {"step": "at step", "loss": "its loss", "back_to": "back to step", "batch": "without batch"}
    tooltip = [alt.Tooltip(f"{name}:Q", title=title) for name, title in told.items()]
    rules = alt.Chart(marks).mark_rule(strokeDash=[3, 3], strokeWidth=1.5, color="#f87171" if is_dark() else "#b91c1c")
    return lines + rules.encode(x=alt.X(f"{over}:Q"), tooltip=tooltip)


def several(table: pd.DataFrame, over: str, value: str, title: str) -> Any:
    """A line for each `name`."""
    legend = alt.Legend(orient="bottom", columns=2, labelLimit=260)
    color = alt.Color("name:N", title=None, legend=legend)
    rows = -(-table["name"].nunique() // 2)
    return _legible(_lines(table, over, value, title).encode(color=color).properties(height=HEIGHT + 40 + 20 * rows))


def _lines(table: pd.DataFrame, over: str, value: str, title: str) -> Any:
    columns = [each for each in (over, value, "side", "name") if each in table]
    known = table[columns].dropna()
    point = alt.OverlayMarkDef(size=18) if len(known) < 80 else False
    x = alt.X(f"{over}:Q", axis=alt.Axis(format="~s", grid=False))
    y = alt.Y(f"{value}:Q", title=title, scale=alt.Scale(zero=False))
    tooltip = [alt.Tooltip(f"{each}:{'N' if each in ('side', 'name') else 'Q'}") for each in columns]
    return alt.Chart(known, height=HEIGHT).mark_line(point=point).encode(x=x, y=y, tooltip=tooltip)


def parallel(table: pd.DataFrame, columns: list[str], best: str) -> Any:
    """A line for each run through its values of `columns` and its figure; the lower `best`, the more orange.

    The axes lie under each other, with their names above them, so that there is room for these on a telephone. The
    values of a column lie evenly in their order; the figure has its own scale, on which less is on the left.
    """
    quiet, ink, page = ("#78716c", "#d6d3d1", "#1c1917") if is_dark() else ("#8b8580", "#57534e", "#fafaf9")
    order = [*map(_title, columns), best]
    found = _points(table, columns, best)
    x = alt.X("place:Q", axis=None, scale=alt.Scale(domain=(-0.02, 1.02)))
    y = alt.Y("axis:N", sort=order, axis=alt.Axis(title=None, labels=False, ticks=False, domain=False, grid=True))
    tones = alt.Scale(range=[side_colors()[0], quiet])
    color = alt.Color("figure:Q", scale=tones, legend=alt.Legend(orient="top", title=best))
    tooltip = ["run:N", "axis:N", "value:N", alt.Tooltip("figure:Q", title=best, format=".4f")]
    lines = alt.Chart(found, height=LEGEND + AXIS * len(order)).mark_line(point=True, opacity=0.75)
    lines = lines.encode(x=x, y=y, detail="run:N", order="number:Q", color=color, tooltip=tooltip)
    told = alt.Chart(found[found["told"]].drop_duplicates(["axis", "value"])).encode(x=x, y=y, text="value:N")
    names = alt.Chart(pd.DataFrame({"axis": order, "place": 0.0})).encode(x=x, y=y, text="axis:N")
    at_ends = alt.expr("datum.place < 0.1 ? 'left' : datum.place > 0.9 ? 'right' : 'center'")
    layers: list[Any] = [lines]
    halos: list[dict[str, Any]] = [{"stroke": page, "strokeWidth": 4}, {}]  # else lines go through what is written
    for halo in halos:
        layers += [
            told.mark_text(align=at_ends, dy=15, fontSize=11, color=ink, **halo),
            names.mark_text(align="left", dy=-15, fontSize=12, fontWeight="bold", color=ink, **halo),
        ]
    return _legible(alt.layer(*layers))


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
