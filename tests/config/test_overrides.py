"""Values survive Hydra's grammar and OmegaConf as they are."""

from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from gptcore.config.overrides import PLAIN, literal, override, parse

LETTERS = st.sampled_from("${}\\'\" :,=[]#é\nx0")
TEXTS = st.text(LETTERS).filter(lambda text: not PLAIN.fullmatch(text)) | st.just("nano")
NUMBERS = st.integers() | st.floats(allow_nan=False) | st.booleans()


@settings(deadline=None, max_examples=200)
@given(value=NUMBERS | TEXTS | st.lists(NUMBERS | TEXTS))
def test_a_value_comes_out_of_an_override_as_it_went_in(value: Any) -> None:
    assert parse([override("a.b", value)], {}) == ([], {"a.b": value})


@settings(deadline=None)
@given(value=TEXTS)
def test_omegaconf_resolves_a_literal_to_itself(value: str) -> None:
    assume(value != "???")
    config = OmegaConf.create({"a": literal({"b": [value]}), "c": "${a.b}"})
    assert OmegaConf.to_container(config, resolve=True) == {"a": {"b": [value]}, "c": [value]}
