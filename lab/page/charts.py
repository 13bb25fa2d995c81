"""Charts in the colours of the report page."""

from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

HEIGHT = 260
SIDES = ("model", "baseline")


def side_colors() -> list[str]:
    """Of the model and its baseline, on a light and on a dark page."""
    return ["#fb923c", "#a8a29e"] if _is_dark() else ["#c2410c", "#78716c"]


def _is_dark() -> bool:
    return st.context.theme.type == "dark"


def _legible(chart: Any) -> Any:
    """Streamlit's grey has too little contrast for what is written at axes and in legends."""
    ink = "#d6d3d1" if _is_dark() else "#57534e"
    return chart.configure_axis(labelColor=ink, titleColor=ink).configure_legend(labelColor=ink, titleColor=ink)


def losses(table: pd.DataFrame, over: str) -> Any:
    """Validation loss of model and baseline; `table` has the columns `over`, val_loss and side."""
    scale = alt.Scale(domain=SIDES, range=side_colors())
    color = alt.Color("side:N", title=None, scale=scale, legend=alt.Legend(orient="top-right"))
    return _legible(_lines(table, over, "val_loss", "validation loss, nats").encode(color=color))


def single(table: pd.DataFrame, over: str, value: str, title: str) -> Any:
    return _legible(_lines(table, over, value, title).encode(color=alt.value(side_colors()[0])))


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
    """A line for each run through its values, each column from least to most; the lower `best`, the more orange."""
    quiet, legend = "#78716c" if _is_dark() else "#8b8580", alt.Legend(orient="top", title="bits per byte")
    spread = {name: (table[name].min(), table[name].max()) for name in columns}
    rows = [
        {"run": str(run), "column": name, "place": _place(value, *spread[name]), "value": value, best: line[best]}
        for run, line in table.iterrows()
        for name, value in line[columns].items()
        if pd.notna(value)
    ]
    return _legible(
        alt.Chart(pd.DataFrame(rows), height=320)
        .mark_line(point=True, opacity=0.75)
        .encode(
            x=alt.X("column:N", sort=columns, title=None, axis=alt.Axis(labelAngle=-15, labelLimit=240, grid=True)),
            y=alt.Y("place:Q", axis=None),
            detail="run:N",
            color=alt.Color(f"{best}:Q", scale=alt.Scale(range=[side_colors()[0], quiet]), legend=legend),
            tooltip=["run:N", "column:N", "value:N", f"{best}:Q"],
        )
    )


def _place(value: float, low: float, high: float) -> float:
    return 0.5 if high == low else (value - low) / (high - low)
