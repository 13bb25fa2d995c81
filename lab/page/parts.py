"""What all pages share: readers that remember for some seconds, errors as one line, empty pages, links."""

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from gptcore.addresses import redacted
from gptcore.errors import Unavailable, UserError
from gptcore.registry.address import tracking_uri
from lab.read import experiments, versions
from lab.read.prefect import Deployment, Prefect, Run
from lab.read.served import SERVING, ready
from lab.read.versions import Known
from tasks.dvc.experiments import Experiment, references
from tasks.dvc.repository import cache_folder

POLL_SECONDS = 3.0
STATES = {
    "Completed": "green", "Cached": "green", "Running": "orange", "Failed": "red", "Crashed": "red",
    "Cancelled": "gray", "Cancelling": "orange", "Pending": "blue", "Scheduled": "blue", "Late": "blue",
    "AwaitingRetry": "blue",
}  # fmt: skip


@st.cache_resource
def prefect() -> Prefect:
    return Prefect()


@st.cache_data(ttl=POLL_SECONDS, show_spinner=False)
def flow_runs(*flows: str) -> list[Run]:
    return prefect().runs(*flows)


@st.cache_data(ttl=5 * POLL_SECONDS, show_spinner=False)
def deployments() -> list[Deployment]:
    return prefect().deployments()


@st.cache_data(ttl=POLL_SECONDS, show_spinner=False)
def known_versions() -> list[Known]:
    return versions.versions(Path.cwd())


@st.cache_resource(max_entries=2, show_spinner="Reading experiments")
def _experiments(state: str) -> dict[str, Experiment]:
    """Shared, as a copy for each page would take longer than all else."""
    return experiments.all_experiments(Path.cwd())


def known_experiments() -> dict[str, Experiment]:
    """Not to be changed. Git tells in milliseconds whether there is another one."""
    return _experiments(references(Path.cwd()))


@st.cache_data(max_entries=2, show_spinner=False)
def _bounds(state: str) -> dict[str, experiments.Bounds]:
    return experiments.all_bounds(_experiments(state), known_cache())


def known_bounds() -> dict[str, experiments.Bounds]:
    return _bounds(references(Path.cwd()))


@st.cache_data(ttl=60, show_spinner=False)
def known_cache() -> Path:
    """DVC's cache folder, for which its whole configuration is read."""
    return cache_folder(Path.cwd())


@contextmanager
def told(looks_again: bool = True) -> Iterator[None]:
    """What goes wrong in the block is one line on the page.

    While something is away, the page looks again every few seconds, unless whoever calls does so anyway.
    """
    try:
        yield
    except Unavailable as error:
        st.warning(f"{redacted(str(error))}. This page goes on when it answers.", icon=":material/cloud_off:")
        if looks_again:
            st.fragment(_look_again, run_every=POLL_SECONDS)(time.monotonic())
    except UserError as error:
        st.error(redacted(str(error)), icon=":material/error:")


def _look_again(since: float) -> None:
    if time.monotonic() - since > POLL_SECONDS / 2:
        st.rerun()


def shows(key: str, value: Any) -> str:
    """The key of a widget that shows `value`: a browser still has what was last entered under this key, however old."""
    if st.session_state.get(key) != value:
        st.session_state[key] = value
    return key


def empty(what: str, how: str, page: str = "", label: str = "") -> None:
    """A page that has nothing to show yet says what brings something."""
    with st.container(border=True):
        st.markdown(f"**{what}**\n\n{how}")
        if page:
            st.page_link(f"page/{page}.py", label=label, icon=":material/arrow_forward:")


def state(name: str) -> str:
    """The name of a state as a badge."""
    return f":{STATES.get(name, 'gray')}-badge[{escape(name) or 'unknown'}]"


def duration(seconds: float) -> str:
    """3725 as 1:02:05, 42.3 as 0:42."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def systems() -> Mapping[str, str]:
    """The pages of the other systems, as far as they are up: of Prefect, MLflow, the server."""
    found = {"Prefect": prefect().start_page()}
    if address := mlflow_address():
        found["MLflow"] = address
    if _serves(serving_address()):
        found["API"] = f"{serving_address()}/docs"
    return found


def mlflow_address() -> str:
    """Of an MLflow server: that of the registry, or the one of `make ui` over the checkout's own."""
    uri = tracking_uri(Path.cwd())
    if uri.startswith("http"):
        return redacted(uri).rstrip("/")
    port = int(os.environ.get("UI_PORT", "5000"))
    return f"http://127.0.0.1:{port}" if _listens(port) else ""


def serving_address() -> str:
    return os.environ.get("GPTCORE_SERVING", SERVING).rstrip("/")


@st.cache_data(ttl=5 * POLL_SECONDS, show_spinner=False)
def _serves(address: str) -> bool:
    return ready(address) is not None


@st.cache_data(ttl=5 * POLL_SECONDS, show_spinner=False)
def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
