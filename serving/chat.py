"""Chat completions: what the route takes and gives. The model's own chat template makes a prompt of a conversation."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gptcore.errors import UserError
from gptcore.generation.complete import Wish
from serving.model import Served
from serving.refusals import Refusal
from serving.requests import Asked, Text
from serving.service import prepared
from serving.worker import Prompt

MOST_TOKENS = 1_000_000
BYTES = re.compile(r"bytes:(\\x[0-9a-f]{2})+")


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["text"] = Field(description="Nothing else is understood")
    text: Text


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[Part] = Field(description="a text, or a list of parts of type text")

    def said(self) -> dict[str, str]:
        whole = self.content if isinstance(self.content, str) else "".join(each.text for each in self.content)
        return {"role": self.role, "content": whole}


class ChatRequest(Asked):
    """A conversation, whose last message is the user's."""

    EXAMPLE: ClassVar[dict[str, Any]] = {
        "messages": [{"role": "user", "content": "What is AI?"}],
        "temperature": 0.8,
        "seed": 1,
    }

    messages: list[Message] = Field(description="The conversation so far", max_length=10_000)
    max_tokens: int = Field(default=MOST_TOKENS, ge=0, le=MOST_TOKENS, description="The context's end ends it, too")
    max_completion_tokens: int | None = Field(default=None, ge=0, le=MOST_TOKENS, description="max_tokens, newly named")
    logprobs: bool = Field(default=False, description="Log-probabilities of the answer's ids")
    top_logprobs: int = Field(default=0, ge=0, le=20, description="And of so many likeliest ids; only with logprobs")

    @model_validator(mode="after")
    def _top_of_something(self) -> Self:
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs")
        return self

    def said(self) -> list[dict[str, str]]:
        return [each.said() for each in self.messages]

    def wish(self) -> Wish:
        """Raises UserError."""
        most = self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens
        top = self.top_logprobs if self.logprobs else None
        return Wish(most, self.sampling(), self.n, self.stops(), top, stop_ids=self.stop_token_ids)


def prepared_chat(served: Served, messages: Sequence[Mapping[str, str]], wish: Wish) -> list[Prompt]:
    """Raises Refusal, UserError."""
    if not served.tokenizer.chat_template:
        raise Refusal(400, f"{served.title} has no chat template; use /v1/completions", "no_chat_template")
    try:
        ids = served.tokenizer.encode_chat(messages)
    except UserError as error:
        raise Refusal(400, f"messages: {error}", "invalid_value", "messages") from None
    return prepared(served, [ids], wish, "messages")


class Form(NamedTuple):
    """How an answer is told: names of the objects, and a choice as `Choice.shown` has it in their form."""

    prefix: str
    whole: str
    chunk: str
    of_whole: Callable[[dict[str, Any]], dict[str, Any]]
    of_piece: Callable[[dict[str, Any], bool], dict[str, Any]]  # also: whether it is the choice's first


def _message(shown: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": shown["text"], "refusal": None}
    return {**_rest(shown), "message": message}


def _delta(shown: dict[str, Any], is_first: bool) -> dict[str, Any]:
    return {**_rest(shown), "delta": {**({"role": "assistant"} if is_first else {}), "content": shown["text"]}}


def _rest(shown: dict[str, Any]) -> dict[str, Any]:
    found = shown["logprobs"]
    content = found and [
        {**_logprob(token, logprob), "top_logprobs": [_logprob(*each) for each in top.items()]}
        for token, logprob, top in zip(found["tokens"], found["token_logprobs"], found["top_logprobs"], strict=True)
    ]
    logprobs = None if found is None else {"content": content or [], "refusal": None}
    return {"index": shown["index"], "logprobs": logprobs, "finish_reason": shown["finish_reason"]}


def _logprob(token: str, logprob: float) -> dict[str, Any]:
    """An id that is no whole character has its bytes in its name (see `answers.named`)."""
    raw = bytes.fromhex(token[6:].replace("\\x", "")) if BYTES.fullmatch(token) else token.encode()
    return {"token": token, "logprob": logprob, "bytes": list(raw)}


TEXT = Form("cmpl", "text_completion", "text_completion", lambda shown: shown, lambda shown, is_first: shown)
CHAT = Form("chatcmpl", "chat.completion", "chat.completion.chunk", _message, _delta)
