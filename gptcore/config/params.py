"""The only reader of params.yaml; validates its sections."""

import inspect
import json
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gptcore.config.plain_yaml import load_yaml
from gptcore.errors import UserError

Kind = TypeVar("Kind", bound=BaseModel)
Seed = Annotated[int, Field(ge=0, lt=1 << 64)]  # what torch and numpy take
Count = Annotated[int, Field(ge=0, lt=1 << 63)]  # a limit that costs nothing by itself, however high it is
SHORT = reprlib.Repr()  # of a wrong value, however long it is
SHORT.maxstring = SHORT.maxother = 80


class Section(BaseModel):
    """A section of params.yaml: every value changes the result. It has no defaults; presets in conf/ set the values."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class View(BaseModel):
    """A subset of another stage's section; the stage depends only on these values."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class Metrics(BaseModel):
    """The metrics a stage returns; written to its metrics JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def read_params(path: Path) -> dict[str, Any]:
    """Read params.yaml as plain values. Raises UserError."""
    try:
        values = load_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.name} is missing; `gptcore configure model=nano` writes one") from None
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name} is not UTF-8 text, from byte {error.start} on; save it as UTF-8") from None
    except ValueError as error:
        raise UserError(f"{path.name} {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path.name} must hold sections such as `train:`; `gptcore configure model=nano` writes one")
    return values


def stage_sections(stage: Callable[..., Metrics]) -> dict[str, type[BaseModel]]:
    """The sections a stage depends on: its arguments except `paths`."""
    hints = inspect.get_annotations(stage, eval_str=True)
    return {name: kind for name, kind in hints.items() if name not in ("paths", "return")}


def validate_section(values: dict[str, Any], name: str, kind: type[Kind]) -> Kind:
    """Validate one section. Raises UserError that names each invalid field and what is allowed."""
    if name not in values:
        raise UserError(f"params.yaml has no section `{name}`; `gptcore configure model=nano` writes a whole file")
    try:
        # through JSON: a list is then accepted as a tuple, while strict mode still distinguishes 1 from "1" and true
        return kind.model_validate_json(json.dumps(values[name]))
    except ValidationError as error:
        raise UserError("; ".join(_explain(name, kind, one) for one in error.errors())) from None


def _explain(section: str, kind: type[BaseModel], error: Any) -> str:
    field = ".".join([section, *map(str, error["loc"])])
    if error["type"] == "extra_forbidden":
        return f"params.yaml: {field} is unknown; known are {', '.join(_fields_beside(kind, error['loc']))}"
    if error["type"] == "missing":
        return f"params.yaml: {field} is missing"
    message = error["msg"].removeprefix("Value error, ")
    got = f", got {SHORT.repr(error['input'])}" if error["loc"] and not isinstance(error["input"], dict) else ""
    return f"params.yaml: {field}: {message[0].lower()}{message[1:]}{got}"


def _fields_beside(kind: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """The fields that are valid in place of the last name of `location`, also in nested sections and lists of them."""
    for name in location[:-1]:
        inner = get_args(kind)[0] if isinstance(name, int) else kind.model_fields[name].annotation
        if type(None) in get_args(inner):  # a section that may be null
            inner, *_ = get_args(inner)
        kind = cast("type[BaseModel]", inner)
    return list(kind.model_fields)
