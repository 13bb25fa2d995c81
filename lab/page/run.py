"""Watch a run: its stages and why they ran, both losses, what it logs; cancel it, start it again."""

from pathlib import Path

import pandas as pd
import streamlit as st

from gptcore.addresses import redacted
from gptcore.errors import Unavailable, UserError
from lab.page import charts
from lab.page.parts import (
    POLL_SECONDS,
    duration,
    empty,
    flow_runs,
    known_cache,
    known_experiments,
    mlflow_address,
    prefect,
    state,
    told,
)  # fmt: skip
from lab.page.pieces import events, heard, log_of, samples, stages, tiles
from lab.read import curves, params
from lab.read.log import Log
from lab.read.prefect import FLOW, REBUILD, Run, Step
from tasks.workspace.workspace import plain_name

RUNS_SHOWN = 30


def show() -> None:
    if number := st.query_params.get("run"):
        every = POLL_SECONDS if _may_change(number) else None
        st.fragment(_live, run_every=every)(number, every)
    else:
        st.fragment(_list, run_every=POLL_SECONDS)()


def _may_change(number: str) -> bool:
    try:
        return not prefect().run(number).is_final
    except Unavailable:
        return True
    except UserError:  # there is no such run
        return False


def _list() -> None:
    st.title("Runs")
    with told(looks_again=False):
        found = flow_runs(FLOW, REBUILD)
        if not found:
            how = "Start one; it appears here at once. What other runs have left is on the page Compare."
            empty("Prefect knows no run yet.", how, "launch", "Launch a training")
        for run in found[:RUNS_SHOWN]:
            with st.container(border=True, horizontal=True, vertical_alignment="center"):
                st.page_link("page/run.py", label=run.name, query_params={"run": run.id})
                st.markdown(state(run.state))
                st.caption(params.asked(run))
                st.caption(duration(run.seconds) if run.began else "", width="content")


def _live(number: str, every: float | None) -> None:
    """One look at the run. It is repeated until the run has ended; a server that is away is asked again."""
    with told(looks_again=False):
        run, steps, log = prefect().run(number), prefect().steps(number), log_of(number)
        log.update(prefect())
        if run.is_final and every:
            st.rerun()  # without the repetition
        _head(run)
        _progress(steps, log, run)
        left, right = st.columns([3, 2], gap="large")
        with left:
            _curves(run, steps, log)
        with right:
            stages(steps, prefect().artifacts(number))
            events(steps, log)
        samples(run)
        with st.expander("Log"):
            st.code("\n".join(line.text for line in log.last) or "Nothing yet.", language=None, height=360)


def _head(run: Run) -> None:
    st.title(run.name)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(state(run.state))
        st.caption(params.asked(run))
        if not run.is_final and not run.deployment:
            st.caption("Ctrl-C where it was started stops it.")
        elif run.may_be_cancelled and st.button("Cancel", icon=":material/stop:", help="It writes a checkpoint first"):
            prefect().cancel(run.id)
            st.toast("It writes a checkpoint and ends")
        if run.is_final and run.deployment and st.button("Start again", icon=":material/replay:"):
            again = prefect().start(run.deployment, run.parameters)
            st.switch_page("page/run.py", query_params={"run": again.id})
        st.page_link(prefect().page(run.id), label="Prefect", icon=":material/open_in_new:")
        if address := mlflow_address():
            st.page_link(address, label="MLflow", icon=":material/open_in_new:")
    if run.message and run.is_final:
        st.markdown(redacted(run.message))
    if run.kind in ("SCHEDULED", "PENDING"):
        st.info("It waits for a worker. Without one it stays here: `make lab` and `make worker` start one.")


def _progress(steps: list[Step], log: Log, run: Run) -> None:
    running = next((each for each in reversed(steps) if each.kind == "RUNNING"), None)
    points = log.points.get(running.id, []) if running else []
    if running and points and not run.is_final:
        last = points[-1]
        left = f", {duration(last.seconds_left)} left" if last.seconds_left is not None else ""
        st.progress(last.share, f"{running.name}: {last.unit} {last.done:,} of {last.total:,}{left}")
    elif running and not run.is_final:
        st.progress(0.0, f"{running.name} has begun")
    tiles(points, run)


def _curves(run: Run, steps: list[Step], log: Log) -> None:
    known = known_experiments()
    name = plain_name(run.name)
    values = params.of_run(run, {each.name: each.params for each in known.values()}, Path.cwd())
    tracked = heard(name, run.is_final)
    tables, marks = [], []
    for side, stage in curves.STAGES.items():
        finished = curves.of_workspace(Path.cwd(), name, side)
        if finished is None and name in known:
            finished = curves.of_experiment(known[name], side, known_cache())
        points = [point for step in steps if step.name == stage for point in log.points.get(step.id, [])]
        section = "train" if side == "model" else "baseline"
        batch = values.get(f"{section}.batch_tokens")
        found = curves.curve(finished, tracked if side == "model" else tracked.iloc[:0], points, batch)
        skips = [skip for step in steps if step.name == stage for skip in log.skips.get(step.id, {}).values()]
        marks.append(curves.marks(skips, found, batch).assign(side=side))
        tables.append(curves.thinned(found).assign(side=side))
    both = pd.concat(tables, ignore_index=True)
    if len(both) or len(tracked):
        _charts(both, tracked, pd.concat(marks, ignore_index=True))
    elif not run.is_final:
        st.info("No loss yet: the curve begins with the first evaluation of the stage train.")


def _charts(both: pd.DataFrame, tracked: pd.DataFrame, marks: pd.DataFrame) -> None:
    """`marks` are where the guard has left a batch out; what is tracked is the model's training."""
    over = ["tokens", *(["seconds"] if "seconds" in both and both["seconds"].notna().any() else [])]
    axis = st.segmented_control("Over", over, default="tokens", required=True, bind="query-params", key="over")
    st.vega_lite_chart(charts.losses(both, axis or "tokens", marks), width="stretch")
    shown = {
        "loss": "training loss, nats", "learning_rate": "learning rate", "gradient_norm": "gradient norm",
        "tokens_per_second": "tokens per second",
    }  # fmt: skip
    table, own = curves.thinned(tracked), marks[marks["side"] == curves.SIDES[0]]
    if len(marks):
        st.caption("A dashed line is a batch that the guard has left out.")
    columns = st.columns(2)
    for place, (name, title) in enumerate(each for each in shown.items() if table[each[0]].notna().any()):
        columns[place % 2].vega_lite_chart(charts.single(table, "step", name, title, own), width="stretch")


show()
