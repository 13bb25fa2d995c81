"""Talk to the champion and to another version side by side: one prompt, one seed, the same numbers."""

import json
import math
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from gptcore.errors import Unavailable
from lab.page.parts import empty, known_versions, serving_address, told
from lab.read import snippets
from lab.read.served import Child, Piece, Text, ready

LOGS = Path("data/scratch/ui")
LOOK_SECONDS = 0.4
SURPRISE = 6.0  # nats, from which on the colour is the same
CHAMPION, NOTHING = "gpt@champion", "nothing"
STYLE = """<style>
.said { white-space: pre-wrap; overflow-wrap: anywhere; font: 15px/1.7 ui-monospace, monospace; }
.said span { border-radius: 3px; cursor: help; }
.said .prompt { opacity: .65; }
</style>"""


def show() -> None:
    st.title("Playground")
    with told():
        known = known_versions()
        if not known:
            how = "A run registers the model that it has trained."
            empty("There is no model to talk to.", how, "launch", "Launch a training")
            return
        is_led = any("champion" in each.aliases for each in known)
        models = [*([CHAMPION] if is_led else []), *(f"gpt@{each.number}" for each in known)]
        body = _controls()
        sides = {"Model": models, "Beside it": [NOTHING, *models]}
        for column, (name, choices) in zip(st.columns(2, gap="medium"), sides.items(), strict=True):
            with column:
                model = st.selectbox(name, choices, key=name.lower().replace(" ", "-"), bind="query-params")
                if model != NOTHING:
                    _side(model, body)


def _controls() -> dict[str, Any]:
    """The fields of a request; all of them are in the page's address."""
    prompt = st.text_area("Prompt", "ROMEO.", key="prompt", bind="query-params", height=100)
    with st.expander("Sampling"):
        first, second, third = st.columns(3)
        bound: dict[str, Any] = {"bind": "query-params"}
        values: dict[str, Any] = {
            "max_tokens": first.number_input("tokens", 1, 4096, 60, key="max_tokens", **bound),
            "temperature": first.number_input("temperature", 0.0, 10.0, 0.8, 0.1, key="temperature", **bound,
                                              help="0 takes the likeliest token"),
            "top_k": second.number_input("top k", 0, 100_000, 40, key="top_k", **bound, help="0 is all"),
            "top_p": second.number_input("top p", 0.01, 1.0, 1.0, 0.05, key="top_p", **bound),
            "min_p": third.number_input("min p", 0.0, 1.0, 0.0, 0.05, key="min_p", **bound),
            "repetition_penalty": third.number_input("repetition penalty", 0.1, 10.0, 1.0, 0.1, key="penalty", **bound),
            "seed": first.number_input("seed", 0, 1 << 31, 1, key="seed", **bound),
        }  # fmt: skip
    is_chat = st.toggle("Chat", key="chat", bind="query-params", help="For a model that has a chat template")
    asked = {"messages": [{"role": "user", "content": prompt}]} if is_chat else {"prompt": prompt}
    body = {**asked, **values}
    if st.button("Generate", type="primary", icon=":material/play_arrow:", disabled=not prompt):
        st.query_params["made"] = _digest(body)
    return body


def _digest(body: Mapping[str, Any]) -> str:
    """In the address: whoever opens it sees the text, until another request is put together."""
    return sha256(json.dumps(body).encode()).hexdigest()[:12]


def _side(model: str, body: Mapping[str, Any]) -> None:
    if st.query_params.get("made") != _digest(body):
        st.caption("Press Generate.")
        return
    address = _address(model)
    here = ready(address)
    if here is None:
        raise Unavailable(f"the server of {model} at {address} is not ready")
    text = _text(address, here.sha256, json.dumps(body))
    st.fragment(_said, run_every=None if text.is_done else LOOK_SECONDS)(
        text, str(body.get("prompt", "")), text.is_done
    )
    _snippets(address, body)


def _address(model: str) -> str:
    """Of the server that is up, or of one that is started for the playground."""
    if model == CHAMPION and ready(serving_address()):
        return serving_address()
    child = _child(model)
    if child.process.poll() is not None:
        _child.clear(model)
        child = _child(model)
    return child.address


@st.cache_resource(max_entries=3, on_release=Child.stop, show_spinner="Starting a server: some seconds, once")
def _child(model: str) -> Child:
    return Child(model, LOGS)


@st.cache_resource(max_entries=128, show_spinner=False)
def _text(address: str, sha256: str, body: str) -> Text:
    """The same weights, the same request: the same text, so it is made once."""
    return Text(address, json.loads(body))


def _said(text: Text, prompt: str, was_done: bool) -> None:
    shown = "".join(map(_token, text.pieces))
    st.html(f'{STYLE}<div class="said"><span class="prompt">{escape(prompt)}</span>{shown}</div>')
    if text.error:
        st.error(text.error)
    count = len(text.pieces)
    st.caption(f"{text.fingerprint[:24]} {f'{count} pieces in {text.seconds:.1f} s' if text.is_done else '…'}")
    if text.is_done and not was_done:
        st.rerun()  # without the repetition


def _token(piece: Piece) -> str:
    """Its probability, and what else was likely, when the pointer rests on it; the less likely, the redder."""
    if piece.logprob is None:
        return escape(piece.text)
    others = "&#10;".join(f"{escape(repr(each))} {math.exp(value):.1%}" for each, value in piece.others.items())
    sure = math.exp(piece.logprob)
    shade = f"rgba(234, 88, 12, {0.45 * min(-piece.logprob / SURPRISE, 1.0):.2f})"
    return f'<span style="background:{shade}" title="{sure:.1%}&#10;{others}">{escape(piece.text)}</span>'


def _snippets(address: str, body: Mapping[str, Any]) -> None:
    with st.expander("curl and Python"):
        st.code(snippets.curl(address, body), "sh", wrap_lines=True)
        st.code(snippets.python(address, body), "python", wrap_lines=True)


show()
