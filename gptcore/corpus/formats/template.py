"""How the fields of a record make a text: one field such as `message.content`, or a template, `{question}\\n{answer}`.

A template is data: only `{field}` and doubled braces have a meaning. Dots lead into nested objects and lists.
"""

import re
from collections.abc import Iterable
from typing import Any

from gptcore.errors import UserError

BRACES = re.compile(r"(?P<doubled>\{\{|\}\})|\{(?P<field>[^{}]*)\}|(?P<other>[{}]|[^{}]+)")
FIELD = re.compile(r"[^\W\d][\w -]*(\.[\w -]+)*")
LISTED_NAMES = 20


class Template:
    """A template in parts: each is some literal text and the field after it, which is empty for the last part."""

    def __init__(self, template: str) -> None:
        """Raises ValueError."""
        self.parts: list[tuple[str, str]] = []
        if not set(template) & set("{}"):
            self.parts = [("", template)]
            return
        literal = ""
        for match in BRACES.finditer(template):
            field = match["field"]
            if match["other"] in ("{", "}") or not (field is None or FIELD.fullmatch(field)):
                raise ValueError(f"must be a field's name, or text with {{fields}}, not {match[0]}; braces are doubled")
            if field is None:
                literal += match["other"] or match["doubled"][0]
            else:
                self.parts, literal = [*self.parts, (literal, field)], ""
        if not self.parts:
            raise ValueError("must name a field, such as {text}; a doubled brace is a brace")
        self.parts.append((literal, ""))

    @property
    def fields(self) -> list[str]:
        return list(dict.fromkeys(field for _, field in self.parts if field))

    def fill(self, values: dict[str, str]) -> str:
        """The text with the value of each field."""
        return "".join(literal + values.get(field, "") for literal, field in self.parts)


def column_of(field: str, columns: Iterable[str]) -> str:
    """The top-level name that holds a field: a name that contains dots comes before a nested field."""
    return field if field in columns else field.partition(".")[0]


def value_of(record: dict[str, Any], field: str, where: str) -> Any:
    """The value of a field; null if an object on the way to it is null. Raises UserError."""
    found: Any = record
    rest = field
    while rest and found is not None:
        inside = found if isinstance(found, dict) else dict(_numbered(found)) if isinstance(found, list) else {}
        name = column_of(rest, inside)
        if name not in inside:
            raise no_field(field, field[: -len(rest) - 1], inside, where)
        found, rest = inside[name], rest[len(name) + 1 :]
    return found


def no_field(field: str, holder: str, names: Iterable[str], where: str) -> UserError:
    """The error for a field that is not there; `holder` is the nested object that should have it."""
    listed = list(names)
    names_listed = ", ".join(listed[:LISTED_NAMES]) + (", ..." if len(listed) > LISTED_NAMES else "")
    return UserError(
        f"{where}: has no field {field}; {holder or 'it'} has {names_listed or 'none'}; say in data.text what to take, "
        "or of prompts and responses, with data.pairs=true, in data.prompt and data.response"
    )


def _numbered(values: list[Any]) -> Iterable[tuple[str, Any]]:
    return ((str(number), value) for number, value in enumerate(values))
