"""A conversation as text: a chat template in Jinja, as Hugging Face has them, rendered in a sandbox.

Ours needs one special token, so it fits every tokenizer and no message can imitate it: the end of text stands before
each turn and after the last (DialoGPT, Zhang et al. 2020). A response thus begins and ends where a text does, and is
learned with its end. A system message is the beginning of the first prompt.

Those of others write special tokens by their names, which only their own tokenizers know.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, NoReturn

from gptcore.errors import UserError

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.nodes import Node
    from jinja2.parser import Parser

TEMPLATE: Final = """\
{{- bos_token }}
{%- set first = messages and messages[0].role in ('system', 'developer') %}
{%- for message in (messages[1:] if first else messages) %}
    {%- if message.role != ('user' if loop.index0 % 2 == 0 else 'assistant') %}
        {{- raise_exception('after an optional system message, user and assistant must take turns') }}
    {%- endif %}
    {%- if loop.first and first %}{{ messages[0].content ~ '\\n\\n' }}{% endif %}
    {{- message.content ~ eos_token }}
{%- endfor %}
{%- if add_generation_prompt and (not messages or messages[-1].role != 'user') %}
    {{- raise_exception('the last message must be the user\\'s') }}
{%- endif %}
"""
END = "\udcff"  # stands for the special token: half a character, which no text holds
ERRORS = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)


def text_of(
    template: str, messages: Sequence[Mapping[str, str]], for_response: bool = False, **special_tokens: str
) -> str:
    """What a template makes of a conversation, as transformers' `apply_chat_template` does. Raises UserError.

    `for_response`: what a response follows.
    """
    from jinja2 import TemplateError

    for message in messages:
        require_text(message["content"])
    try:
        return _compiled(template).render(
            messages=messages, tools=None, documents=None, add_generation_prompt=for_response, **special_tokens
        )
    except (TemplateError, *ERRORS) as error:  # the template's own mistakes
        raise UserError(f"the chat template refuses it: {' '.join(str(error).split())}") from None


def rendered(template: str, messages: Sequence[Mapping[str, str]], for_response: bool = False) -> list[str]:
    """The pieces of text between special tokens; the first and the last may be empty. Raises UserError."""
    return text_of(template, messages, for_response, bos_token=END, eos_token=END).split(END)


def turns(messages: Sequence[Mapping[str, str]]) -> list[str]:
    """A conversation for training: prompts and responses in turn, by our template. Raises UserError."""
    return rendered(TEMPLATE, messages)[1:-1]


def segments(template: str, parts: Sequence[str]) -> list[tuple[str, str]]:
    """For each response in `parts`, prompts and responses in turn: the new text before it, and the text that it makes.

    Together they are what a template of others makes of the conversation. Raises UserError.
    """
    messages: list[dict[str, str]] = []
    found, before = [], ""
    for prompt, response in zip(parts[::2], parts[1::2], strict=True):
        messages.append({"role": "user", "content": prompt})
        asked = text_of(template, messages, for_response=True)
        messages.append({"role": "assistant", "content": response})
        answered = text_of(template, messages)
        if not (asked.startswith(before) and answered.startswith(asked)):
            raise UserError(
                "the model's chat template writes earlier messages anew when others follow, so responses cannot be "
                "told apart from prompts; take another start, or its tokenizer without the template"
            )
        found.append((asked[len(before) :], answered[len(asked) :]))
        before = answered
    return found


def require_text(text: str) -> None:
    """Raises UserError for half a character, as only JSON's escapes can write it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"a message is no text: it holds half a character, {text[error.start]!r}") from None


@lru_cache(maxsize=8)
def _compiled(template: str) -> "Template":
    """With the additions of transformers, except `strftime_now`: a prompt must not change from day to day."""
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` marks a response for transformers' masks; its content is text like any other."""

        tags = {"generation"}  # noqa: RUF012  jinja2 reads it of the class

        def parse(self, parser: "Parser") -> "list[Node]":
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _refuse
    environment.filters["tojson"] = partial(json.dumps, ensure_ascii=False)
    return environment.from_string(template)


def _refuse(why: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(why)
