"""What the routes take. A field that is not here is refused by its name."""

import secrets
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gptcore.generation.complete import Wish
from gptcore.generation.sampling import Sampling

Text = Annotated[str, Field(max_length=1 << 20)]
PROMPTS = "a text, a list of texts, a list of token ids, or a list of lists of token ids; none is empty"


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool = Field(default=False, description="Tokens of prompt and completion in one more chunk")


def _documented(schema: dict[str, Any], kind: type["_Drawing"]) -> None:
    """Say in the OpenAPI document that fields may be null, and what a request looks like that /docs can send."""
    schema["examples"] = [kind.EXAMPLE]
    for name, each in schema["properties"].items():
        if name not in schema["required"] and {"type": "null"} not in each.get("anyOf", []):
            kinds = {key: each.pop(key) for key in list(each) if key not in ("title", "description", "default")}
            each["anyOf"] = [*(kinds.get("anyOf", [kinds])), {"type": "null"}]


class _Drawing(Sampling):
    """Fields of OpenAI's interface may be null: that is as if they were not there."""

    model_config = ConfigDict(json_schema_extra=_documented)
    EXAMPLE: ClassVar[dict[str, Any]] = {}

    # keys of a JSON object are strings
    logit_bias: dict[Annotated[int, Field(strict=False)], Annotated[float, Field(ge=-1e6, le=1e6)]] = Field(
        default_factory=dict, description="Added to the logits of ids"
    )
    seed: int = Field(
        default_factory=lambda: secrets.randbits(63), ge=-(1 << 63), lt=1 << 64,
        description="With prompt and place among n it decides the text; if not given, each request gets another",
    )  # fmt: skip

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, values: Any) -> Any:
        return {name: each for name, each in values.items() if each is not None} if isinstance(values, dict) else values

    def sampling(self) -> Sampling:
        """Raises UserError."""
        return Sampling.of(**{name: getattr(self, name) for name in Sampling.model_fields})


class Asked(_Drawing):
    """Of completions and of chat completions: OpenAI's fields, and those of vLLM, and timeout."""

    model: str = Field(default="", description="One of /v1/models; the one that is served if not given")
    temperature: Annotated[float, Field(ge=0, le=1000)] = Field(default=1.0, description="0 takes the likeliest id")
    n: int = Field(default=1, ge=1, le=128, description="Texts for each prompt")
    stop: str | list[str] = Field(default=[], description="a text, or a list of at most 16 texts, that end the text")
    stop_token_ids: list[Annotated[int, Field(ge=0)]] = Field(
        default=[], max_length=128, description="Ids that end the text; none of them is in it"
    )
    stream: bool = Field(default=False, description="Server-sent events, a piece of text each")
    stream_options: StreamOptions = Field(default=StreamOptions(), description="Only with stream")
    timeout: float | None = Field(default=None, ge=0.1, le=86_400, description="Seconds; at most the server's deadline")
    user: str = Field(default="", max_length=1000, description="For the client's own records; has no effect")

    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop


class CompletionRequest(Asked):
    """A text to go on from."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"prompt": "ROMEO.", "max_tokens": 50, "temperature": 0.8, "seed": 1}

    prompt: str | list[str] | list[int] | list[list[int]] = Field(description=PROMPTS)
    max_tokens: int = Field(default=16, ge=0, le=1_000_000, description="The context's end ends a text, too")
    logprobs: int | None = Field(default=None, ge=0, le=100, description="Log-probabilities of so many likeliest ids")
    echo: bool = Field(default=False, description="Begin with the prompt; with logprobs, its log-probabilities too")

    def prompts(self) -> list[str | list[int]]:
        if isinstance(self.prompt, str):
            return [self.prompt]
        numbers = [each for each in self.prompt if isinstance(each, int)]
        return [numbers] if numbers else [each for each in self.prompt if not isinstance(each, int)]

    def wish(self) -> Wish:
        """Raises UserError."""
        stop, ids = self.stops(), self.stop_token_ids
        return Wish(self.max_tokens, self.sampling(), self.n, stop, self.logprobs, self.echo, stop_ids=ids)


class GenerateRequest(_Drawing):
    """A text and how many tokens more."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"text": "ROMEO.", "max_new_tokens": 50}

    text: Text = Field(description="What the answer begins with")
    max_new_tokens: int = Field(default=50, ge=0, le=1_000_000, description="The context's end ends a text, too")

    def wish(self) -> Wish:
        """Raises UserError."""
        return Wish(self.max_new_tokens, self.sampling())


class TokenizeRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: Text = Field(description="The text to encode")


class DetokenizeRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    tokens: list[int] = Field(description="The ids to decode", max_length=1 << 20)
