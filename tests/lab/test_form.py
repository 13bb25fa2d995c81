"""The form of params.yaml: what overrides make of it, and mistakes at their fields."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.config.params import read_params
from gptcore.config.presets import compose, flatten, section_types
from gptcore.errors import UserError
from gptcore.evaluation.benchmarks.chosen import chosen
from lab.read import cost
from lab.read.form import Field, read_form, sections
from tests.support.benchmarks import QUESTION, write_rows
from tests.support.scratch import CHECKOUT

PARAMS = CHECKOUT / "params.yaml"


def test_every_field_of_params_yaml_is_a_field_of_the_form() -> None:
    fields = {field.name: field for each in sections().values() for field in each}
    assert [*fields] == [*flatten(read_params(PARAMS))]
    assert list(sections()) == list(section_types())
    steps = fields["train.steps"]
    assert (steps.kind, steps.low, steps.label) == ("number", 1, "steps")
    assert steps.help == "Optimizer steps; 1 to 999,999,999"
    assert [name for name, field in fields.items() if not field.help] == []
    assert fields["train.order"].choices == ("epochs", "documents", "crops")
    assert fields["model.bias"].kind == "switch"
    assert "> 0" in fields["optim.adam_eps"].help
    assert fields["baseline.model.n_layer"].label == "model.n layer"


def test_values_as_they_are_have_no_override_and_no_mistake() -> None:
    form = read_form([], PARAMS)
    assert (form.changes, dict(form.mistakes)) == ([], {})
    assert form.changed("train.steps", form.values["train.steps"]) == []


def test_what_a_form_sets_is_what_configure_composes() -> None:
    form = read_form(["model=baby"], PARAMS)
    form = read_form(form.changed("train.steps", 7), PARAMS)
    form = read_form(form.changed("train.sample_prompt", "a 'b' ${c}"), PARAMS)
    assert form.values == flatten(compose(list(form.overrides), PARAMS))
    assert form.values["train.steps"] == 7
    assert form.overrides[0] == "model=baby"
    assert ("train.steps", 750, 7) in form.changes
    back = read_form(form.changed("train.steps", form.base["train.steps"]), PARAMS)
    assert [each.partition("=")[0] for each in back.overrides] == ["model", "train.sample_prompt"]
    assert read_form(form.chosen("model", None), PARAMS).choices == {}


@pytest.mark.parametrize(
    ("override", "field", "said"),
    [
        ("train.steps=0", "train.steps", "greater than 0"),
        ("train.steps=many", "train.steps", "valid integer"),
        ("train.stepps=3", "train.stepps", "not permitted"),
        ("train.batch_tokens=100", "train.batch_tokens", "multiple of model.block_size"),
        ("model.n_head=3", "model", "multiple of n_head"),
        ("gate.conditions=[{metric:bits}]", "gate.conditions.against", "required"),
        ("evaluate.tasks=[lamda]", "evaluate.tasks", "did you mean lambada?"),
    ],
)
def test_a_mistake_is_told_at_its_field(override: str, field: str, said: str) -> None:
    assert said in read_form([override], PARAMS).mistakes[field]


def test_a_name_is_enough_for_a_task(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "quiz.jsonl", [QUESTION])
    form = read_form([f"evaluate.tasks=['{rows}']"], PARAMS)
    assert not form.mistakes and form.values["evaluate.tasks"] == [chosen(str(rows))]
    assert [*read_form([*form.overrides, "train.steps=0"], PARAMS).mistakes] == ["train.steps"]


def test_what_no_form_has_written_is_one_line() -> None:
    with pytest.raises(UserError, match="no such choice"):
        read_form(["model=huge"], PARAMS)


@given(st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.none(),
                 st.lists(st.integers() | st.text(st.characters(categories=["L"]), min_size=1))))  # fmt: skip
def test_what_a_text_field_shows_it_reads_again(value: Any) -> None:
    field = Field("a.b", "text", "")
    assert field.read(field.shown(value)) == json.loads(json.dumps(value))


def test_seconds_are_those_of_earlier_runs_for_as_many_flops() -> None:
    values = flatten(read_params(PARAMS))
    tokens = values["train.steps"] * values["train.batch_tokens"]
    before = [(values, {"model.tokens": tokens, "model.seconds": seconds}) for seconds in (1.0, 30.0, 10.0, 20.0)]
    found = cost.estimate({**values, "train.steps": values["train.steps"] * 2}, before)
    assert found.seconds == pytest.approx(2 * 15.0)
    assert found.flops == pytest.approx(2 * (cost.flops(values, tokens) or 0))
    assert cost.estimate(values, []).seconds is None
    assert cost.estimate({**values, "tokenize.tokenizer": "char"}, before).flops == 0
