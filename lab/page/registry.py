"""Versions of the model: what the gate says of one, what it is made of; promote, roll back, rebuild; history."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import streamlit as st

from gptcore.commands.export import TARGETS
from gptcore.errors import UserError
from gptcore.evaluation.verdict import Verdict, read_record
from gptcore.registry.history import Reign, reigns, shown
from gptcore.registry.journal import LONGEST_REASON, Line
from gptcore.registry.judge import WITHDRAWN
from lab.page.origins import VERSION, choose, made_of
from lab.page.parts import empty, known_versions, prefect, shows, told
from lab.read import gate, versions
from lab.read.versions import Known

WORDS = {
    "why": st.column_config.TextColumn(width="large"),
    "for": st.column_config.TextColumn(help="Until now, of the present champion"),
}


def show() -> None:
    st.title("Registry")
    with told():
        found = known_versions()
        if not found:
            how = "A run registers the model that it has trained, and promotes it if it passes the gate."
            empty("No model is registered yet.", how, "launch", "Launch a training")
            return
        names = {each.number: _name(each) for each in found}
        given = st.query_params.get(VERSION, "")
        holder = next((each.number for each in found if "champion" in each.aliases), found[0].number)
        start = int(given) if given.isdecimal() and int(given) in names else holder
        key = shows(", ".join(names.values()), start)  # with new names it is a new box: an old one keeps the old name
        number = st.selectbox(
            "Version", [*names], key=key, format_func=names.__getitem__, on_change=_chosen, args=(key,)
        )
        choose(number)
        _version(next(each for each in found if each.number == number), holder)
        _history()


def _chosen(key: str) -> None:
    choose(st.session_state[key])


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
        verdict = versions.verdict(Path.cwd(), version)
        _verdict(verdict, champion)
        _actions(version, verdict)
    with right:
        made_of(version, verdict)


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
    number = version.number
    with st.container(horizontal=True):
        if "champion" in version.aliases:
            with _opened("Roll back", "undo", f"roll-back-{number}") as is_open:
                if is_open:
                    _roll_back(version)
        else:
            with _opened("Promote", "trophy", f"promote-{number}") as is_open:
                if is_open:
                    _promote(version, verdict)
        with _opened("Rebuild", "build", f"rebuild-{number}") as is_open:
            if is_open:
                _rebuild(number)
        with _opened("Export", "download", f"export-{number}") as is_open:
            if is_open:
                _export(number)


@contextmanager
def _opened(label: str, icon: str, key: str) -> Iterator[bool]:
    """What a press shows is read when it is pressed. Its mistakes are told in it."""
    popover = st.popover(label, icon=f":material/{icon}:", key=key, on_change="rerun")
    with popover, told():
        yield bool(popover.open)


def _promote(version: Known, verdict: Verdict | None) -> None:
    """The second press: the first opens this."""
    number = version.number
    with told():
        ruling, champion = gate.now(Path.cwd(), number, verdict.gate if verdict else None)
        beside = f"beside version {champion}" if champion else "as there is no champion"
        if ruling.wins:
            st.success(f"The gate would pass it now, {beside}: {ruling.because}")
        else:
            st.warning(f"The gate would refuse it now, {beside}: {ruling.because}")
        if ruling.record and verdict and read_record(ruling.record).inputs == verdict.inputs:
            st.caption("That is the verdict on this page: nothing has changed since.")
    why = st.text_input("Why", key=f"why-{number}", help="The journal keeps it", max_chars=LONGEST_REASON)
    if st.button(f"Make version {number} champion", type="primary", disabled=not why.strip()):
        versions.promote(Path.cwd(), number, why)
        _moved(number, f"by hand: {why}")


def _roll_back(version: Known) -> None:
    st.markdown("The champion before gets the alias, after a check of its files. No run makes this one champion again.")
    why = st.text_input("What is wrong with it", key=f"back-{version.number}", max_chars=LONGEST_REASON)
    if st.button(f"Withdraw version {version.number}", type="primary", disabled=not why.strip()):
        _moved(versions.roll_back(Path.cwd(), None, why), f"rollback: {why}")


def _rebuild(number: int) -> None:
    st.markdown("A run makes it again from its commit, parameters and data, and compares the two.")
    if st.button("Start the rebuild"):
        run = prefect().start("rebuild-gpt/rebuild-local", {"version": number})
        st.switch_page("page/run.py", query_params={"run": run.id})


def _export(number: int) -> None:
    to = st.selectbox("To", TARGETS, key=f"to-{number}")
    place = Path(f"data/exported/gpt-{number}-{to}")
    st.code(f"gptcore export gpt@{number} --to {to} {place}", language="sh", wrap_lines=True)
    if place.is_dir():
        st.success(f"It is in {place}; parity.json says how closely its reader computes the same.")
    elif st.button("Export", type="primary"):
        with st.spinner("Some seconds: it is written, and its reader must compute what the model does"):
            versions.export(Path.cwd(), number, to, place)
        st.rerun()


def _moved(number: int, because: str) -> None:
    try:
        prefect().promoted(number, because)
    except UserError as error:
        st.toast(f"Prefect has not heard of it: {error}")
    known_versions.clear()
    choose(number)
    st.rerun()


def _history() -> None:
    st.subheader("Champions")
    lines, faults = versions.history(Path.cwd())
    if faults:
        st.error(f"The journal was changed: {'; '.join(faults)}", icon=":material/error:")
    st.dataframe(_champions(lines), hide_index=True, width="stretch", placeholder="", column_config=WORDS)
    with st.expander("Every move of an alias"):
        rows = [(shown(each.when), each.alias, each.was, each.to, each.why, each.who) for each in reversed(lines)]
        table = pd.DataFrame(rows, columns=["when", "alias", "from", "to", "why", "who"])
        table = table.astype({"from": "Int64", "to": "Int64"})
        st.dataframe(table, hide_index=True, width="stretch", placeholder="", column_config=WORDS)


def _champions(lines: list[Line]) -> pd.DataFrame:
    """From when to when each was champion and by which promotion or rollback, the present one first."""
    rows = [
        (each.began.to, shown(each.began.when), shown(each.until) if each.until else "now", _held(each),
         each.began.why, each.began.who)
        for each in reversed(reigns(lines))
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["version", "from", "until", "for", "why", "who"])


def _held(reign: Reign) -> str:
    held = (reign.until or datetime.now(UTC)) - reign.began.when
    return str(timedelta(seconds=round(held.total_seconds())))


show()
