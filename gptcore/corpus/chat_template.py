"""A conversation as text: a chat template in Jinja, as Hugging Face has them, rendered in a sandbox.

Ours needs one special token, so it fits every tokenizer and no message can imitate it: the end of text stands before
each turn and after the last (DialoGPT, Zhang et al. 2020). A response thus begins and ends where a text does, and is
learned with its end. A system message is the beginning of the first prompt.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NoReturn

from gptcore.errors import UserError

if TYPE_CHECKING:
    from jinja2 import Template

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


def rendered(template: str, messages: Sequence[Mapping[str, str]], for_response: bool = False) -> list[str]:
    """The pieces of text between special tokens; the first and the last may be empty. Raises UserError.

    `for_response`: what a response follows.
    """
    from jinja2 import TemplateError

    for message in messages:
        require_text(message["content"])
    try:
        text = _compiled(template).render(
            messages=messages, bos_token=END, eos_token=END, add_generation_prompt=for_response
        )
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:  # the template's own mistakes
        raise UserError(f"the chat template refuses it: {error}") from None
    return text.split(END)


def turns(messages: Sequence[Mapping[str, str]]) -> list[str]:
    """A conversation for training: prompts and responses in turn, by our template. Raises UserError."""
    return rendered(TEMPLATE, messages)[1:-1]


def require_text(text: str) -> None:
    """Raises UserError for half a character, as only JSON's escapes can write it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"a message is no text: it holds half a character, {text[error.start]!r}") from None


@lru_cache(maxsize=8)
def _compiled(template: str) -> "Template":
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    loops = ["jinja2.ext.loopcontrols"]  # transformers has it too
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=loops)
    environment.globals["raise_exception"] = _refuse
    return environment.from_string(template)


def _refuse(why: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(why)
