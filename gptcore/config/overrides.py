"""Overrides as people write them, `group=choice` and `section.field=value` in Hydra's grammar: read and written.

Values are data: only conf/ may interpolate, so `${...}` in a value is text like any other.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from gptcore.errors import UserError, known_names

PLAIN = re.compile(r"[A-Za-z0-9_.+-]+")


def parse(overrides: list[str], known: Mapping[str, Iterable[str]]) -> tuple[list[str], dict[str, Any]]:
    """Overrides -> (group choices as Hydra takes them, values by dotted field). `known` has each group's choices.

    Of several for one name, the last counts. Raises UserError.
    """
    choices: dict[str, str] = {}
    fields: dict[str, Any] = {}
    for text in overrides:
        name, value = _parse(text)
        if "." in name:
            fields[name] = value
        elif name not in known:
            raise UserError(f"`{text}`: there is no group {name}{known_names(name, known)}")
        elif str(value) not in known[name]:
            raise UserError(f"`{text}`: group {name} has no such choice{known_names(str(value), known[name])}")
        else:
            choices[name] = text
    return [*choices.values()], fields


def repeated(overrides: list[str]) -> list[str]:
    """A sentence about each name that is given more than once."""
    names = [text.partition("=")[0] for text in overrides]
    last = dict(zip(names, overrides, strict=True))
    return [
        f"{name} is given {names.count(name)} times; the last counts: {text}"
        for name, text in last.items()
        if names.count(name) > 1
    ]


def override(name: str, value: Any) -> str:
    """The override that sets `name` to `value`."""
    return f"{name}={_written(value)}"


def literal(value: Any) -> Any:
    r"""`value` for OmegaConf, which then resolves to the very same value: `${` is written as `\${`."""
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda found: rf"{found[1] * 2}\${{", value)
    if isinstance(value, list):
        return [literal(each) for each in value]
    if isinstance(value, dict):
        return {name: literal(each) for name, each in value.items()}
    return value


def _parse(text: str) -> tuple[str, Any]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        text.encode()
        found = OverridesParser.create().parse_override(text)
    except (HydraException, ValueError, RecursionError):  # not UTF-8, an integer of thousands of digits, many brackets
        shown = text if len(text) <= 80 else f"{text[:80]}…"
        said = "write group=choice or section.field=value, and other text than plain words in quotes: field='a text'"
        raise UserError(f"cannot read `{shown.encode(errors='replace').decode()}`; {said}") from None
    if found.is_add() or found.is_delete() or found.is_sweep_override() or found.package:
        raise UserError(f"`{text}`: only group=choice and section.field=value, with one value, are understood")
    return str(found.key_or_group), found.value()


def _written(value: Any) -> str:
    """A value in Hydra's grammar. Plain words go without quotes, so that "5" and 5 are the same."""
    from hydra.core.override_parser.types import Quote, QuotedString

    if isinstance(value, str):
        return value if PLAIN.fullmatch(value) else QuotedString(value, Quote.single).with_quotes()
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{name}:{_written(each)}' for name, each in value.items())}}}"
    return repr(value) if isinstance(value, float) else json.dumps(value)
