"""What a version is made of: a picture, the way to each part in the other systems, the command that gets it."""

import streamlit as st

from flows.page.lineage import Origins, picture, words
from gptcore.evaluation.verdict import Verdict
from gptcore.registry.pages import version_page
from lab.page.charts import is_dark
from lab.page.parts import mlflow_address, prefect
from lab.read.versions import Known

VERSION = "version"  # in the registry's address
# in light and dark; what is no text has a contrast of 3 to 1 at least
INK, LINE = ("#1c1917", "#fafaf9"), ("#78716c", "#a8a29e")
STYLE = """<style>
rect { fill: none; stroke: LINE; } text { font: 12px sans-serif; fill: INK; text-anchor: middle; }
text.hash { font: 11.5px monospace; opacity: .8; }
.arrow { stroke: LINE; fill: none; stroke-width: 1.5; } marker path { fill: LINE; }
</style>"""


def made_of(version: Known, verdict: Verdict | None) -> None:
    st.subheader("What it is made of")
    rival = _rival(verdict)
    origins = Origins(
        version.outputs, version.tags.get("git_commit", ""), version.tags.get("flow_run_name", ""),
        f"gpt version {version.number}", version.tags.get("start", ""), f"gpt version {rival}" if rival else "",
    )  # fmt: skip
    st.image(_image(origins), width="stretch", alt=words(origins))
    _ways(version, rival)
    with st.expander("How to get each of it"):
        for link in version.links:
            st.caption(f"{link.what} `{link.name[:16]}`")
            st.code(link.command, language="sh", wrap_lines=True)


def _rival(verdict: Verdict | None) -> int | None:
    """The version that this one was compared with, if there was a champion and the gate asks for it."""
    asked = verdict.inputs if verdict else None
    return asked.champion_version if asked and (asked.champion or asked.champion_tasks) else None


def _image(origins: Origins) -> str:
    """The picture of the report page as an image of its own, whose style must be in it."""
    style = STYLE.replace("INK", INK[is_dark()]).replace("LINE", LINE[is_dark()])
    head, _, rest = picture(origins).partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg">{style}{rest}'


def _ways(version: Known, rival: int | None) -> None:
    """To what made it, here and in the other systems, as far as they are up."""
    start = version.tags.get("start", "").removeprefix("models:/gpt/")
    run = version.tags.get("flow_run_id")
    with st.container(horizontal=True):
        if run:
            st.page_link("page/run.py", label="Its run", icon=":material/show_chart:", query_params={"run": run})
        if start.isdecimal():
            _to_version(int(start), "its start")
        if rival:
            _to_version(rival, "measured against")
        if run:
            st.page_link(prefect().page(run), label="Prefect", icon=":material/open_in_new:")
        if address := mlflow_address():
            st.page_link(version_page(address, version.number), label="MLflow", icon=":material/open_in_new:")


def _to_version(number: int, why: str) -> None:
    """A link to this page would look like the chosen one of several."""
    label = f"Version {number}, {why}"
    st.button(label, type="tertiary", icon=":material/inventory_2:", on_click=choose, args=(number,))


def choose(number: int) -> None:
    """Of the registry's versions."""
    st.query_params[VERSION] = str(number)
