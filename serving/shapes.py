"""The forms of the answers, for the OpenAPI document alone."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from serving.refusals import Error

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Error, "description": what}
    for status, what in {
        400: "A field is wrong", 401: "No key of this server", 404: "There is no such thing",
        408: "The body does not come", 413: "The body is too large", 429: "Too many requests; see Retry-After",
        500: "The model or the server fails", 504: "Not done in time",
    }.items()
}  # fmt: skip


class Logprobs(BaseModel):
    """Of the model's own distribution. `text_offset` counts characters of the choice's text."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class Choice(BaseModel):
    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length"] | None


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(BaseModel):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str = Field(description="Number of the version and sha256 of its weights")
    choices: list[Choice]
    usage: Usage | None = None


class TopLogprob(BaseModel):
    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class ChatLogprobs(BaseModel):
    content: list[TokenLogprob]
    refusal: None


class Message(BaseModel):
    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoice(BaseModel):
    index: int
    message: Message
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "length"] | None


class ChatCompletion(BaseModel):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str = Field(description="Number of the version and sha256 of its weights")
    choices: list[ChatChoice]
    usage: Usage | None = None


class Generated(BaseModel):
    text: str
    new_tokens: int
    finish_reason: Literal["stop", "length"]
    model: str
    system_fingerprint: str


class Tokens(BaseModel):
    tokens: list[int]
    count: int
    max_model_len: int


class Text(BaseModel):
    prompt: str


class Model(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    version: int
    sha256: str
    max_model_len: int


class Models(BaseModel):
    object: Literal["list"]
    data: list[Model]


class Health(BaseModel):
    status: Literal["ok", "failed"]


class Follows(BaseModel):
    follows: str | None


class Refused(BaseModel):
    version: int
    why: str


class Ready(BaseModel):
    ready: bool
    model: str
    version: int
    sha256: str
    follows: str | None
    refused: Refused | None
    registry_error: str | None
