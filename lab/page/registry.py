"""Versions of the model: what the gate says of one, what it is made of; promote, roll back, rebuild; history."""

from pathlib import Path

import pandas as pd
import streamlit as st

from flows.page.lineage import picture
from gptcore.commands.export import TARGETS
from gptcore.errors import UserError
from gptcore.evaluation.verdict import Verdict
from gptcore.registry.history import shown
from gptcore.registry.judge import WITHDRAWN
from lab.page.parts import empty, known_versions, prefect, told
from lab.read import versions
from lab.read.versions import Known

DRAWING = """<style>
rect { fill: none; stroke: #a8a29e; } text { font: 12px sans-serif; fill: INK; text-anchor: middle; }
text.hash { font: 11.5px monospace; opacity: .8; }
.arrow { stroke: #a8a29e; fill: none; stroke-width: 1.5; } marker path { fill: #a8a29e; }
</style>"""


def show() -> None:
    st.title("Registry")
    with told():
        found = known_versions()
        if not found:
            how = "A run registers the model that it has trained, and promotes it if it passes the gate."
            empty("No model is registered yet.", how, "launch", "Launch a training")
            return
        names = {each.number: _name(each) for each in found}
        given = st.query_params.get("version", "")
        holder = next((each.number for each in found if "champion" in each.aliases), found[0].number)
        start = int(given) if given.isdecimal() and int(given) in names else holder
        number = st.selectbox("Version", [*names], [*names].index(start), format_func=names.__getitem__)
        st.query_params["version"] = str(number)
        _version(next(each for each in found if each.number == number), holder)
        _history()


def _name(version: Known) -> str:
    aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
    bits = version.tags.get("bits_per_byte")
    return f"version {version.number}{aliases}{f', {float(bits):.4f} bits per byte' if bits else ''}"


def _version(version: Known, champion: int) -> None:
    if version.tags.get(WITHDRAWN):
        st.warning(f"It was rolled back: {version.tags[WITHDRAWN]}")
    elif sentence := version.tags.get("promotion"):
        st.markdown(sentence)
    left, right = st.columns([3, 2], gap="large")
    with left:
        verdict = versions.verdict(Path.cwd(), version.number)
        _verdict(verdict, champion)
        _actions(version, verdict)
    with right:
        st.subheader("What it is made of")
        st.image(_lineage(version), width="stretch")
        with st.expander("How to get each of it"):
            for link in version.links:
                st.caption(f"{link.what} `{link.name[:16]}`")
                st.code(link.command, language="sh", wrap_lines=True)


def _lineage(version: Known) -> str:
    """The picture of the report page, as an image of its own, whose style must be in it."""
    ink = "#fafaf9" if st.context.theme.type == "dark" else "#1c1917"
    drawn = picture(
        version.outputs,
        version.tags.get("git_commit", ""),
        f"gpt version {version.number}",
        version.tags.get("start", ""),
    )
    head, _, rest = drawn.partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg">{DRAWING.replace("INK", ink)}{rest}'


def _verdict(verdict: Verdict | None, champion: int) -> None:
    st.subheader("The gate")
    if verdict is None:
        st.caption("No run has judged it.")
        return
    for each in verdict.outcomes:
        icon = ":green[:material/check_circle:]" if each.passed else ":red[:material/cancel:]"
        st.markdown(f"{icon} **{each.what}** {each.why}")
    was = verdict.inputs.champion_version
    if was != champion and champion != verdict.inputs.version:
        st.caption(f"It was compared with {f'version {was}' if was else 'no champion'}; now version {champion} is it.")


def _actions(version: Known, verdict: Verdict | None) -> None:
    st.subheader("Change")
    with st.container(horizontal=True):
        if "champion" in version.aliases:
            with st.popover("Roll back", icon=":material/undo:", key=f"roll-back-{version.number}"):
                _roll_back(version)
        else:
            with st.popover("Promote", icon=":material/trophy:", key=f"promote-{version.number}"):
                _promote(version, verdict)
        with st.popover("Rebuild", icon=":material/build:"):
            st.markdown("A run makes it again from its commit, parameters and data, and compares the two.")
            if st.button("Start the rebuild"):
                run = prefect().start("rebuild-gpt/rebuild-local", {"version": version.number})
                st.switch_page("page/run.py", query_params={"run": run.id})
        with st.popover("Export", icon=":material/download:"):
            to = st.selectbox("To", TARGETS)
            place = f"data/exported/gpt-{version.number}-{to}"
            st.code(f"gptcore export gpt@{version.number} --to {to} {place}", language="sh", wrap_lines=True)


def _promote(version: Known, verdict: Verdict | None) -> None:
    """The second press: the first opens this."""
    if verdict is None:
        st.warning("No gate has judged this version.")
    elif verdict.passed:
        st.success(f"The gate passed it: {verdict.because}")
    else:
        st.warning(f"The gate refused it: {verdict.because}")
    why = st.text_input("Why", key=f"why-{version.number}", help="The journal keeps it", max_chars=1000)
    if st.button(f"Make version {version.number} champion", type="primary", disabled=not why.strip()):
        versions.promote(Path.cwd(), version.number, why)
        _moved(version.number, f"by hand: {why}")


def _roll_back(version: Known) -> None:
    st.markdown("The champion before gets the alias, after a check of its files. No run makes this one champion again.")
    why = st.text_input("What is wrong with it", key=f"back-{version.number}", max_chars=1000)
    if st.button(f"Withdraw version {version.number}", type="primary", disabled=not why.strip()):
        _moved(versions.roll_back(Path.cwd(), None, why), f"rollback: {why}")


def _moved(number: int, because: str) -> None:
    try:
        prefect().promoted(number, because)
    except UserError as error:
        st.toast(f"Prefect has not heard of it: {error}")
    known_versions.clear()
    st.query_params["version"] = str(number)
    st.rerun()


def _history() -> None:
    st.subheader("History")
    lines = versions.history(Path.cwd())
    rows = [(shown(each.when), each.alias, each.was, each.to, each.why, each.who) for each in lines]
    table = pd.DataFrame(rows, columns=["when", "alias", "from", "to", "why", "who"]).astype(
        {"from": "Int64", "to": "Int64"}
    )
    st.dataframe(table, hide_index=True, width="stretch")


show()
