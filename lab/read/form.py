"""The sections of params.yaml as a form: fields with ranges and help, overrides, and what is wrong at which field."""

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from gptcore.config.overrides import override, parse
from gptcore.config.params import read_params
from gptcore.config.plain_yaml import load_yaml
from gptcore.config.presets import compose, differences, flatten, groups, section_types, with_tasks
from gptcore.errors import UserError

EXACT = (1 << 53) - 1  # the largest integer that a browser knows


@dataclass(frozen=True)
class Field:
    """`name` is dotted, `train.steps`. A number has a range as far as its class has one."""

    name: str
    kind: Literal["number", "switch", "choice", "text"]
    help: str
    low: int | None = None
    high: int | None = None
    choices: tuple[str, ...] = ()
    is_string: bool = False

    @property
    def label(self) -> str:
        return self.name.partition(".")[2].replace("_", " ")

    def shown(self, value: Any) -> str:
        """As a text field shows it."""
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    def read(self, text: str) -> Any:
        """What somebody has written; what is no value is left as it is, for the section's class to refuse."""
        if self.is_string:
            return text
        try:
            return load_yaml(text)
        except ValueError:
            return text


@dataclass(frozen=True)
class Form:
    """What overrides make of params.yaml. `values` and `base`, that of presets alone, are flat; `mistakes` by field."""

    overrides: tuple[str, ...]
    choices: Mapping[str, str]
    values: Mapping[str, Any]
    base: Mapping[str, Any]
    mistakes: Mapping[str, str]
    changes: Sequence[tuple[str, Any, Any]]

    def changed(self, name: str, value: Any) -> list[str]:
        """The overrides with this value of a field; without it if presets say the same."""
        rest = [each for each in self.overrides if each.partition("=")[0] != name]
        return rest if self.base.get(name, ...) == value else [*rest, override(name, value)]

    def chosen(self, group: str, choice: str | None) -> list[str]:
        """The overrides with another choice of a group of presets, which come first; None is params.yaml's."""
        rest = [each for each in self.overrides if each.partition("=")[0] != group]
        return [f"{group}={choice}", *rest] if choice else rest


def read_form(overrides: Sequence[str], params: Path) -> Form:
    """Raises UserError if the overrides cannot be read at all; what is wrong with a field is told beside it."""
    choices, fields = parse(list(overrides), groups(params.parent / "conf"))
    base = compose(choices, params)
    values = deepcopy(base)
    for name, value in fields.items():
        _set(values, name, value)
    mistakes: dict[str, str] = {}
    try:
        values = compose(list(overrides), params) if fields else base  # composing is most of the work
    except UserError as error:
        mistakes = dict(_mistakes(values)) or dict([_placed(str(error), values)])
    named = dict(each.split("=", 1) for each in choices)
    changes = differences(read_params(params), values) if params.exists() else []
    return Form(tuple(overrides), named, flatten(values), flatten(base), mistakes, changes)


@cache
def sections() -> dict[str, tuple[Field, ...]]:
    """The fields of each section, in the order of their classes."""
    found = {}
    for name, kind in section_types().items():
        schema = kind.model_json_schema()
        found[name] = tuple(_fields(name, schema, schema.get("$defs", {})))
    return found


def _fields(prefix: str, schema: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[Field]:
    for name, each in schema["properties"].items():
        inner = known.get(each.get("$ref", "").rpartition("/")[2])
        if inner and "properties" in inner:
            yield from _fields(f"{prefix}.{name}", inner, known)
        else:
            yield _field(f"{prefix}.{name}", {**(inner or {}), **each})


def _field(name: str, schema: Mapping[str, Any]) -> Field:
    help = schema.get("description", "")
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if schema.get("type") == "integer" and high is not None and high <= EXACT:
        low = None if low is None else int(low) + ("exclusiveMinimum" in schema)
        high = int(high) - ("exclusiveMaximum" in schema)
        span = f"≤ {high:,}" if low is None else f"{low:,} to {high:,}"
        return Field(name, "number", "; ".join(filter(None, (help, span))), low, high)
    if schema.get("type") == "boolean":
        return Field(name, "switch", help)
    if "enum" in schema:
        return Field(name, "choice", help, choices=tuple(schema["enum"]))
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = ", ".join(f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema)
    told = "; ".join(each for each in (help, bounds) if each)
    return Field(name, "text", told, is_string=schema.get("type") == "string")


def _set(values: dict[str, Any], name: str, value: Any) -> None:
    *path, last = name.split(".")
    inner: Any = values
    for each in path:
        inner = inner.setdefault(each, {}) if isinstance(inner, dict) else None
    if isinstance(inner, dict):
        inner[last] = value


def _mistakes(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Field, or section where several fields do not fit, and what is wrong."""
    of_tasks = []
    try:
        values = with_tasks(values)
    except UserError as error:
        of_tasks = [_placed(str(error), values)]  # last, as it says more than the class of a section
    for section, kind in section_types().items():
        yield from _of_section(section, kind, values.get(section))
    yield from of_tasks


def _of_section(section: str, kind: type[BaseModel], values: Any) -> Iterator[tuple[str, str]]:
    try:
        kind.model_validate_json(json.dumps(values))
    except ValidationError as error:
        for each in error.errors():
            place = ".".join(str(part) for part in (section, *each["loc"]) if not isinstance(part, int))
            yield place, each["msg"].removeprefix("Value error, ")


def _placed(said: str, values: Mapping[str, Any]) -> tuple[str, str]:
    """A sentence about several sections at the first field that it names."""
    named = [(said.find(name), name) for name in flatten(dict(values)) if name in said]
    return (min(named)[1] if named else "", said.removeprefix("params.yaml: "))
