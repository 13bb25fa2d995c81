"""A template is data: fields in single braces, everything else is the text itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.corpus.formats.template import Template, value_of


def test_fields() -> None:
    assert Template("text").fields == ["text"]
    assert Template("message.content").fields == ["message.content"]
    assert Template("any name: at all").fields == ["any name: at all"]
    assert Template("{a}\n{b} {a}{messages.0.content}").fields == ["a", "b", "messages.0.content"]


@pytest.mark.parametrize(
    "wrong",
    ["{}", "{0}", "{a[0]}", "{a:d}", "{a!z}", "{a:{b}}", "{a:99999999999}", "{", "a}", "{a} }", "{a.}", "{.a}",
     "{a..b}", "{a\n}"],
)  # fmt: skip
def test_what_is_no_field(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"must be a field's name, or text with \{fields\}, not "):
        Template(wrong)


@pytest.mark.parametrize("constant", ["{{a}}", "{{", "{{}}"])
def test_a_template_without_a_field_would_make_every_document_the_same(constant: str) -> None:
    with pytest.raises(ValueError, match="must name a field"):
        Template(constant)


@given(st.text(), st.text(), st.text())
def test_all_but_fields_is_literal(before: str, value: str, after: str) -> None:
    doubled = [text.replace("{", "{{").replace("}", "}}") for text in (before, after)]
    assert Template(doubled[0] + "{field}" + doubled[1]).fill({"field": value}) == before + value + after


def test_values() -> None:
    record = {"a": {"b": ["x", {"c": "y"}], "b.0": "flat"}, "d.e": "z", "null": None}
    found = [value_of(record, field, "here") for field in ("a.b.1.c", "a.b.0", "d.e", "null.f")]
    assert found == ["y", "flat", "z", None], "a name with dots comes first; null has nothing inside"
