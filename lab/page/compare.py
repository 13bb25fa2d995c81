"""All runs as a table, their curves over each other, and what a sweep has found."""

from contextlib import suppress
from pathlib import Path

import pandas as pd
import streamlit as st

from gptcore.evaluation.runs import varying
from lab.page import charts
from lab.page.parts import (
    empty,
    flow_runs,
    known_bounds,
    known_cache,
    known_experiments,
    known_versions,
    systems,
    told,
)
from lab.read import cost, curves, experiments, versions
from lab.read.experiments import BITS
from lab.read.prefect import Run
from tasks.dvc.experiments import Experiment

AXES = ("tokens", "seconds", "TFLOPs")
MOST = 12  # curves in one chart
AXES_SHOWN = 6  # parameters in the picture of all runs
PAIRED = "95 % interval of the difference, paired by the text: below 0 is better"
FIGURES = {
    BITS: st.column_config.NumberColumn("bits per byte", format="%.4f"),
    "bits_low": st.column_config.NumberColumn("from", format="%.4f", help="95 % interval of bits per byte"),
    "bits_high": st.column_config.NumberColumn("to", format="%.4f", help="95 % interval of bits per byte"),
    "baseline_low": st.column_config.NumberColumn("less the baseline's: from", format="%+.4f", help=PAIRED),
    "baseline_high": st.column_config.NumberColumn("to", format="%+.4f", help=PAIRED),
    "against_champion": st.column_config.NumberColumn("less the champion's", format="%+.4f"),
    "run_seconds": st.column_config.NumberColumn("run, s", format="%.0f"),
    "model.seconds": st.column_config.NumberColumn("training, s", format="%.1f"),
    "tera_flops": st.column_config.NumberColumn("TFLOPs", format="%.2f"),
}
COLUMNS = {
    **FIGURES,
    "name": st.column_config.TextColumn(pinned=True),
    "open": st.column_config.LinkColumn("run", display_text="open"),
    "aliases": st.column_config.TextColumn(width=150),
}
FIRST = ["state", "version", "aliases", *FIGURES]


def show() -> None:
    st.title("Compare")
    with told():
        known, registered = known_experiments(), versions.registered(known_versions())
        started = _started()
        here = experiments.of_here(started, {*known, *registered}, Path.cwd())
        table = experiments.table(known, known_bounds(), here, registered)
        if table.empty:
            empty("There is no run to compare.", "A sweep makes many.", "launch", "Launch a training")
            return
        differing = [name for name in table.columns if any(name in each.params for each in known.values())]
        chosen = _table(table, differing)
        if elsewhere := len(started) - len(here):
            others = f"Left out: {elsewhere} of Prefect's runs, with nothing in this checkout"
            st.caption(f"{others}, as they wait, have failed, or are another checkout's. The page Run lists them.")
        if names := [name for name in chosen if name in known]:
            _overlaid({name: known[name] for name in names})
        _parallel(table, differing)
    _links()


def _started() -> list[Run]:
    """Without Prefect, the table lacks states and times alone."""
    found: list[Run] = []
    with told():
        found += flow_runs()
    return found


def _table(table: pd.DataFrame, differing: list[str]) -> list[str]:
    """The names that are chosen, of those with the words in their row."""
    words = st.text_input("Filter", key="words", bind="query-params", placeholder="a name, a state, a value").split()
    columns = dict.fromkeys(each for each in [*FIRST, *differing] if each in table)
    shown = experiments.matching(table[[*columns]], words)
    runs = table.loc[shown.index, "flow_run_id"]
    shown.insert(0, "open", [f"/run?run={each}" if isinstance(each, str) else None for each in runs])
    event = st.dataframe(
        shown.reset_index(), hide_index=True, width="stretch", placeholder="", on_select="rerun",
        selection_mode="multi-row", key="rows", column_config=COLUMNS,
    )  # fmt: skip
    rows = event["selection"]["rows"] or range(min(len(shown), 3))
    return [str(shown.index[place]) for place in rows if place < len(shown)][:MOST]


def _overlaid(known: dict[str, Experiment]) -> None:
    st.subheader("Loss curves")
    axis = st.segmented_control("Over", AXES, default=AXES[0], required=True, bind="query-params", key="over")
    tables = []
    for name, experiment in known.items():
        made = tuple(experiment.outputs.get(each, "") for each in curves.files("model"))
        with suppress(LookupError):
            tables.append(_curve(name, made, experiment))
    if not tables:
        st.caption("Their curves are not in DVC's cache; `dvc exp pull origin NAME` fetches them.")
        return
    chart = charts.several(pd.concat(tables), axis or AXES[0], "val_loss", "validation loss, nats")
    st.vega_lite_chart(chart, width="stretch")
    st.caption(f"{', '.join(known)}. Choose rows of the table for other curves.")


@st.cache_data(max_entries=256, show_spinner=False)
def _curve(name: str, made: tuple[str, ...], _experiment: Experiment) -> pd.DataFrame:
    """Raises LookupError if the files are not here, which is not remembered: somebody may fetch them."""
    found = curves.of_experiment(_experiment, "model", known_cache())
    if found is None:
        raise LookupError(name)
    one = cost.flops(_experiment.params, 1) or float("nan")
    return curves.thinned(found).assign(name=name, TFLOPs=lambda of: of["tokens"] * one / 1e12)


def _parallel(table: pd.DataFrame, differing: list[str]) -> None:
    measured = table[table[BITS].notna()].rename(columns={BITS: "bits per byte"})
    swept = varying(measured, differing)
    if len(measured) < 3 or not swept:
        return
    st.subheader("What matters")
    st.vega_lite_chart(charts.parallel(measured, swept[:AXES_SHOWN], "bits per byte"), width="stretch")
    if rest := swept[AXES_SHOWN:]:
        st.caption(f"Without an axis of their own: {', '.join(rest)}; the table above has them.")


def _links() -> None:
    with st.container(horizontal=True):
        for name, address in systems().items():
            st.page_link(address, label=name, icon=":material/open_in_new:")
        st.caption("DVC has no page of its own: `dvc exp show` lists the same in a terminal")


show()
