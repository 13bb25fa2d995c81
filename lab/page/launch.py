"""Start a run: presets, values of params.yaml, what differs, what it costs, where it runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from gptcore.addresses import redacted
from gptcore.config.presets import groups
from gptcore.errors import UserError
from lab.page.parts import deployments, duration, empty, known_experiments, known_versions, prefect, shows, told
from lab.read import cost, experiments
from lab.read.form import Field, Form, read_form, sections
from tasks.dvc.probe import code_of

PARAMS = Path("params.yaml")  # of the current folder, which is the checkout
MODELS = {"train.start": "", "baseline.source": "train"}  # fields that name a model, with what names none
PRESETS = "presets"  # beside the names of sections
OVERRIDE = "o"  # of the page's address, one for each override
PRESET_PIXELS = 168  # two beside each other on a telephone


def show() -> None:
    st.title("Launch a training")
    overrides = st.query_params.get_all(OVERRIDE)
    form: Form | None = None
    with told():
        form = _form(tuple(overrides), _stamp(PARAMS))
    if form:
        left, right = st.columns([3, 2], gap="large")
        with left:
            _values(form)
        with right:
            _summary(form)
    elif overrides and st.button("Begin with params.yaml"):
        _go([])
        st.rerun()


@st.cache_data(max_entries=64, show_spinner=False)
def _form(overrides: tuple[str, ...], stamp: float) -> Form:
    return read_form(overrides, PARAMS)


def _stamp(params: Path) -> float:
    """Changes when params.yaml or a preset does."""
    return max((each.stat().st_mtime for each in (params, *params.parent.glob("conf/*/*.yaml"))), default=0.0)


def _go(overrides: list[str]) -> None:
    st.query_params[OVERRIDE] = overrides


def _values(form: Form) -> None:
    """Presets, or the fields of one section: a browser takes milliseconds for each field that is there."""
    st.subheader("Presets and values")
    known = sections()
    wrong = [name.partition(".")[0] for name in form.mistakes]
    touched = {name.partition(".")[0] for name, *_ in form.changes}
    touched |= {PRESETS} if form.choices else set()
    marks = {**dict.fromkeys(touched, " •"), **dict.fromkeys(wrong, " ⚠")}
    first = next((name for name in wrong if name in known), PRESETS)
    section = st.pills(
        "Presets, or a section of params.yaml", [PRESETS, *known], default=first, required=True, wrap=True,
        bind="query-params", key="section", format_func=lambda name: name + marks.get(name, ""),
    )  # fmt: skip
    if said := form.mistakes.get(section or "") or form.mistakes.get(""):
        st.error(said)
    if section in known:
        _fields(form, known[section])
    else:
        _presets(form)


def _presets(form: Form) -> None:
    known = groups(PARAMS.parent / "conf")
    row = st.container(horizontal=True)  # as many beside each other as there is room for
    for group, choices in known.items():
        chosen, told_of = form.choices.get(group, ""), {"": "as in params.yaml"}
        told_of |= {name: f"{name}: {why}" for name, why in choices.items()}
        key = shows(f"preset of {group}", chosen)
        row.selectbox(
            group, [*told_of], key=key, on_change=_chosen, args=(form, group, key),
            format_func=told_of.__getitem__, help=choices.get(chosen) or f"A group of values, conf/{group}/",
            width=PRESET_PIXELS,
        )  # fmt: skip


def _chosen(form: Form, group: str, key: str) -> None:
    _go(form.chosen(group, st.session_state[key] or None))


def _fields(form: Form, fields: Sequence[Field]) -> None:
    for row in range(0, len(fields), 2):  # so that one column on a narrow page keeps the order
        for column, field in zip(st.columns(2), fields[row : row + 2], strict=False):
            with column:
                _widget(form, field)


def _widget(form: Form, field: Field) -> None:
    value = form.values.get(field.name)
    if field.kind == "switch" and isinstance(value, bool):
        st.toggle(**_wanted(form, field, "toggle", value))
    elif field.name in MODELS and isinstance(value, str):
        options = [*dict.fromkeys((value, MODELS[field.name], "gpt@champion", *_versions()))]
        wanted = _wanted(form, field, "model", value)
        st.selectbox(
            options=options, accept_new_options=True, format_func=lambda each: each or "from scratch", **wanted
        )
    elif field.kind == "choice" and value in field.choices:
        st.selectbox(options=field.choices, **_wanted(form, field, "choice", value))
    elif field.kind == "number" and type(value) is int and (field.low or value) <= value <= (field.high or value):
        wanted = _wanted(form, field, "number", value)
        st.number_input(min_value=field.low, max_value=field.high, step=1, **wanted)
    else:
        st.text_input(**_wanted(form, field, "text", redacted(field.shown(value))))
    if said := form.mistakes.get(field.name):
        st.error(said)


def _wanted(form: Form, field: Field, widget: str, value: Any) -> dict[str, Any]:
    """The key is another one for another widget, as a field with a mistake is a text."""
    key = shows(f"{field.name} as {widget}", value)
    return {
        "label": field.label, "key": key, "help": field.help or None, "on_change": _entered, "args": (form, field, key)
    }  # fmt: skip


def _versions() -> list[str]:
    """As a start point; none while the registry does not answer, as one may be typed."""
    try:
        return [f"gpt@{each.number}" for each in known_versions()]
    except UserError:
        return []


def _entered(form: Form, field: Field, key: str) -> None:
    given = st.session_state[key]
    _go(form.changed(field.name, field.read(given) if isinstance(given, str) and field.kind != "choice" else given))


def _summary(form: Form) -> None:
    st.subheader("This run")
    if form.changes:
        rows = [{"field": name, "params.yaml": _text(old), "this run": _text(new)} for name, old, new in form.changes]
        st.dataframe(rows, hide_index=True, width="stretch")
    else:
        st.markdown("It takes params.yaml as it is.")
    if form.overrides:
        st.code(" ".join(map(redacted, form.overrides)), language=None, wrap_lines=True)
    place = st.container()
    with told():
        _start(form)
    if not form.mistakes:
        with place, told():  # last, as experiments that nobody has read before take seconds
            _cost(form)


def _text(value: Any) -> str:
    return "" if value is ... else redacted(str(value))


def _cost(form: Form) -> None:
    known = known_experiments()
    if made := experiments.same(form.values, known, _code):
        st.success(f"This is cached: the run {made} has made it, and another takes seconds.", icon=":material/bolt:")
    found = cost.estimate(form.values, [(each.params, each.metrics) for each in known.values()])
    if not found.flops:
        st.caption("The size of the vocabulary comes from the corpus, so the cost is not known before.")
        return
    sizes = f"{found.parameters:,} parameters, {found.flops / 1e12:,.2f} TFLOPs of training"
    by = f"by the last {found.runs} runs" if found.runs > 1 else "by the last run"
    took = f"about {duration(found.seconds)} {by}" if found.seconds else "no run tells how long"
    st.caption(f"{sizes}; {took}. The baseline comes on top.")


@st.cache_data(ttl=60, show_spinner=False)
def _code() -> dict[str, Any]:
    return code_of(Path.cwd())


def _start(form: Form) -> None:
    found = deployments()
    if not found:
        empty("Prefect has no deployment of train-gpt.", "`make deploy` creates them; `make lab` does it by itself.")
        return
    chosen = st.selectbox(
        "Where", found, key="deployment",
        format_func=lambda each: f"{each.name} ({each.pool}{'' if each.is_ready else ': no worker is up'})",
    )  # fmt: skip
    st.caption(chosen.description)
    promotion = st.toggle("Promote it if it passes the gate", value=True, key="promotion")
    if not chosen.is_ready:
        st.info(f"No worker serves the pool {chosen.pool}: the run waits until `make worker POOL={chosen.pool}`.")
    if st.button("Start the run", type="primary", disabled=bool(form.mistakes), icon=":material/play_arrow:"):
        run = prefect().start(chosen.id, {"overrides": list(form.overrides), "promotion": promotion})
        st.switch_page("page/run.py", query_params={"run": run.id})


show()
