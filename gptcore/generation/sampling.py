"""How ids are drawn: the fields of a request, their ranges, and one line for what is wrong. It imports no torch."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gptcore.errors import UserError

Penalty = Annotated[float, Field(ge=-100, le=100)]


class Sampling(BaseModel):
    """The filters apply in the order of the fields: penalties and bias, temperature, top_k, top_p, min_p."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    repetition_penalty: float = Field(
        default=1.0, ge=0.01, le=100, description="Divides the positive logits of ids in prompt and text (Keskar 2019)"
    )
    presence_penalty: Penalty = Field(default=0.0, description="Off the logits of ids in the text so far")
    frequency_penalty: Penalty = Field(default=0.0, description="The same, times how often each is there")
    logit_bias: dict[int, Annotated[float, Field(ge=-1e6, le=1e6)]] = Field(
        default_factory=dict, description="Added to the logits of ids"
    )
    # below 0.001, logits divided by it are infinite in float32
    temperature: Annotated[float, Field(ge=0, le=1000)] = Field(
        default=0.8, description="Logits are divided by it; 0 takes the likeliest id; else at least 0.001"
    )
    top_k: int = Field(default=0, ge=0, lt=1 << 31, description="Only the k likeliest ids; 0 is all")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Only the likeliest ids whose probabilities reach it")
    min_p: float = Field(default=0.0, ge=0, le=1, description="Only ids of at least this share of the likeliest's")
    seed: int = Field(
        default=0, ge=-(1 << 63), lt=1 << 64, description="With prompt and place among n it decides the text"
    )

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Raises UserError that names the wrong field."""
        try:
            sampling = cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            field, message = ".".join(map(str, first["loc"])), first["msg"]
            if first["type"] == "extra_forbidden":
                raise UserError(f"there is no field {field}; there are {', '.join(cls.model_fields)}") from None
            raise UserError(f"{field}: {message[0].lower()}{message[1:]}; it is {first['input']}") from None
        if 0 < sampling.temperature < 0.001:
            raise UserError(f"temperature is 0 or at least 0.001; it is {sampling.temperature}")
        return sampling

    @property
    def adjusts(self) -> bool:
        """Whether logits change before they are divided by the temperature."""
        return bool(self.repetition_penalty != 1 or self.presence_penalty or self.frequency_penalty or self.logit_bias)


def check_prompt(prompt: str, number: int) -> None:
    """Raise UserError if the prompt, the `number`-th, is not text."""
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        code = f"U+{ord(prompt[error.start]):04X}"
        raise UserError(
            f"prompt {number} is no text: character {error.start + 1} is {code}, half of a surrogate pair"
        ) from None
