"""Pieces of the page of a run."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd
import streamlit as st

from gptcore.errors import Unavailable, UserError
from lab.page.parts import POLL_SECONDS, duration, known_experiments, state
from lab.read import curves, texts, versions
from lab.read.log import Log, Point, Skip
from lab.read.prefect import Run, Step
from tasks.workspace.workspace import plain_name

EVENTS_SHOWN = 20
SKIPPED = ["at step", "loss", "back to step", "without batch"]


@st.cache_resource(max_entries=32, show_spinner=False)
def log_of(run: str) -> Log:
    """Shared by all who watch the run, so that each line is read once."""
    return Log(run)


def heard(run: str, is_final: bool) -> pd.DataFrame:
    """What MLflow has of a run's training; nothing while it does not answer, as the log tells the most of it."""
    try:
        return _heard(run, is_final)
    except (Unavailable, UserError):
        return curves.nothing()


@st.cache_data(ttl=2 * POLL_SECONDS, max_entries=32, show_spinner=False)
def _heard(run: str, is_final: bool) -> pd.DataFrame:
    with versions.registry(Path.cwd()) as found:
        return curves.tracked(found, run) if found else curves.nothing()


def tiles(points: Sequence[Point], run: Run) -> None:
    """How far it is; of a run that has ended, what it has measured."""
    shown = {name: figure for name, figure in (_result(run) if run.is_final else _state(points)).items() if figure}
    shown |= {"took" if run.is_final else "running for": duration(run.seconds)} if run.began else {}
    if shown:
        with st.container(horizontal=True):
            for name, figure in shown.items():
                st.metric(name, figure, border=True)


def _state(points: Sequence[Point]) -> Mapping[str, str | None]:
    last = points[-1] if points else None
    return {
        "loss of the last batch": None if last is None or last.loss is None else f"{last.loss:.3f}",
        "validation loss": None if last is None or last.val_loss is None else f"{last.val_loss:.3f}",
        "tokens per second": None if last is None or not last.tokens_per_second else f"{last.tokens_per_second:,.0f}",
    }


def _result(run: Run) -> Mapping[str, str | None]:
    experiment = known_experiments().get(plain_name(run.name))
    metrics = experiment.metrics if experiment else {}
    shapes = {
        "bits per byte": ("model.bits_per_byte", ".4f"),
        "the baseline's": ("baseline.bits_per_byte", ".4f"),
        "parameters": ("model.parameters", ","),
        "tokens per second": ("model.tokens_per_second", ",.0f"),
    }
    found = {name: (metrics.get(key), shape) for name, (key, shape) in shapes.items()}
    return {name: None if value is None else f"{value:{shape}}" for name, (value, shape) in found.items()}


def stages(steps: Sequence[Step], pages: Mapping[str, str]) -> None:
    """Each step, its state, why it ran or what it came to."""
    st.subheader("Stages")
    if not steps:
        st.caption("None has begun.")
    for step in steps:
        with st.container(border=True, gap="xsmall"):
            took = f" {duration(step.seconds)}" if step.seconds else ""
            st.markdown(f"**{step.name}** {state(step.state)}{took}")
            if step.message:
                st.caption(step.message)
            if step.name in pages:
                with st.expander("Why it ran, and what it made"):
                    st.markdown(pages[step.name])


def events(steps: Sequence[Step], log: Log) -> None:
    """What a person should know: batches that the guard has left out, resumption, warnings."""
    for step in steps:
        if skips := log.skips.get(step.id):
            _guard(step.name, [*skips.values()])
    if log.events:
        st.subheader("Events")
        st.code("\n".join(line.text for line in log.events[-EVENTS_SHOWN:]), language=None, wrap_lines=True)


def _guard(stage: str, skips: Sequence[Skip]) -> None:
    """The newest first."""
    st.subheader(f"Guard of {stage}")
    count = f"{len(skips):,} batch was" if len(skips) == 1 else f"{len(skips):,} batches were"
    limit = f"; the last {EVENTS_SHOWN} of them" if len(skips) > EVENTS_SHOWN else ""
    st.caption(f"{count} left out, as the loss was a spike or no number: training went back and on without it{limit}")
    rows = [(f"{each.step:,}", f"{each.loss:.4g}", f"{each.back_to:,}", f"{each.batch:,}") for each in skips]
    st.table(pd.DataFrame(rows[: -EVENTS_SHOWN - 1 : -1], columns=SKIPPED).set_index(SKIPPED[0]))


@st.cache_data(ttl=4 * POLL_SECONDS, max_entries=32, show_spinner=False)
def _texts(run: str) -> list[tuple[str, str]]:
    with versions.registry(Path.cwd()) as registry:
        return texts.heard(registry, run) if registry else []


def samples(run: Run) -> None:
    name = plain_name(run.name)
    found = texts.samples(Path.cwd(), name, known_experiments().get(name))
    if not found and not run.is_final:
        with suppress(Unavailable, UserError):
            found = _texts(name)
    if found:
        st.subheader("Its text")
        for place, (title, text) in enumerate(reversed(found)):
            with st.expander(title, expanded=place == 0):
                st.code(text, language=None, wrap_lines=True)
