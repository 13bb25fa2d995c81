"""YAML 1.2, as DVC reads it, of plain values: numbers, texts, truth values, lists and mappings."""

from copy import deepcopy
from functools import lru_cache
from typing import Any

DEPTH = 30  # our sections have 3


def load_yaml(text: str) -> Any:
    """The values in `text`. Raises ValueError that says what is wrong, such as "is not valid YAML: ..."."""
    return deepcopy(_loaded(text))


@lru_cache(maxsize=4)  # a run reads the same params.yaml again and again, each time in 20 ms
def _loaded(text: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        values = YAML(typ="safe", pure=True).load(text)
        _require_plain(values)
    except RecursionError:
        raise ValueError("is nested too deeply, or within itself") from None
    except NotPlain:
        raise
    except YAMLError as error:
        raise ValueError(_conflict(text) or f"is not valid YAML: {' '.join(str(error).split())}") from None
    except Exception as error:  # of the types that YAML's values become: a month 13, an integer of 5,000 digits
        raise ValueError(f"has a value that cannot be read: {' '.join(str(error).split())}") from None
    return values


class NotPlain(ValueError):
    """YAML has types that JSON, and so our sections, do not have: dates, bytes, sets."""


def _require_plain(value: Any, place: str = "", depth: int = 0) -> None:
    if depth > DEPTH:
        raise NotPlain("is nested too deeply, or within itself")
    if isinstance(value, dict):
        for name, each in value.items():
            if not isinstance(name, str):
                raise NotPlain(f"has {name!r} for a name{_at(place)}; names are texts")
            _require_plain(each, f"{place}.{name}" if place else name, depth + 1)
    elif isinstance(value, list):
        for each in value:
            _require_plain(each, place, depth + 1)
    elif not isinstance(value, str | int | float | None):
        kind = type(value).__name__
        raise NotPlain(f"has a value of YAML's type {kind}{_at(place)}, {value}; a text wants quotes")


def _at(place: str) -> str:
    return f" at {place}" if place else ""


def _conflict(text: str) -> str:
    lines = (number for number, line in enumerate(text.splitlines(), 1) if line.startswith("<<<<<<< "))
    return next((f"has git's conflict markers in line {number}; keep one side of each" for number in lines), "")
