"""Records that are prompts with responses: by two templates, or in one of the forms that are in use.

{prompt, completion}; {instruction, input, output}, whose input may be missing or empty (Alpaca); {messages}, a list of
{role, content} (OpenAI).
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from gptcore.corpus.chat_template import turns
from gptcore.corpus.formats.template import LISTED_NAMES, Template, value_of
from gptcore.errors import UserError

FORMS: Final = ({"messages"}, {"prompt", "completion"}, {"instruction", "output"})


class Pairs(NamedTuple):
    """Templates of prompt and response (see template.py); both are empty where the record's form tells."""

    prompt: str
    response: str

    @property
    def fields(self) -> list[str]:
        """The fields that are read; an empty list is all of them."""
        return [*Template(self.prompt).fields, *Template(self.response).fields] if self.prompt else []

    def turns(self, record: dict[str, Any], where: str) -> list[str]:
        """Prompts and responses in turn. Raises UserError."""
        try:
            return turns(self._messages(record, where))
        except UserError as error:
            raise error if str(error).startswith(where) else UserError(f"{where}: {error}") from None

    def _messages(self, record: dict[str, Any], where: str) -> list[dict[str, str]]:
        if self.prompt:
            return _pair(*(_filled(each, record, where) for each in (self.prompt, self.response)))
        if "messages" in record:
            return _checked(record["messages"], where)
        if "prompt" in record:
            return _pair(string(record, "prompt", where), string(record, "completion", where))
        if "instruction" in record:
            asked = [string(record, name, where) for name in ("instruction", "input") if name in record]
            return _pair("\n\n".join(filter(None, asked)), string(record, "output", where))
        names = ", ".join(list(record)[:LISTED_NAMES]) or "nothing"
        raise UserError(
            f"{where}: is no prompt with a response: it has {names}, and neither messages, nor prompt and completion, "
            "nor instruction and output; say in data.prompt and data.response what to take"
        )


def is_pair(names: Iterable[str]) -> bool:
    """Whether a record with fields of these names has one of the forms."""
    return any(form <= {*names} for form in FORMS)


def _pair(prompt: str, response: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]


def _filled(template: str, record: dict[str, Any], where: str) -> str:
    made = Template(template)
    return made.fill({field: string(record, field, where) for field in made.fields})


def _checked(messages: Any, where: str) -> list[dict[str, str]]:
    if not isinstance(messages, list):
        raise UserError(f"{where}: the field messages is no list but {type(messages).__name__}")
    for number, each in enumerate(messages):
        if not isinstance(each, dict):
            raise UserError(f"{where}: messages.{number} is no object with role and content")
    return [
        {name: string({"messages": messages}, f"messages.{number}.{name}", where) for name in ("role", "content")}
        for number in range(len(messages))
    ]


def string(record: dict[str, Any], field: str, where: str) -> str:
    """The text of a field; null becomes the empty string. Raises UserError."""
    value = value_of(record, field, where)
    if value is None or isinstance(value, str):
        return value or ""
    raise UserError(f"{where}: the field {field} is no text but {type(value).__name__}")
