"""The section `gate` of params.yaml: what a version must show to become champion."""

from typing import Literal

from pydantic import Field, field_validator

from gptcore.config.params import Count, Section
from gptcore.errors import known_names

METRICS = {"bits_per_byte": "bits per byte", "loss": "nats per token", "perplexity": "perplexity"}  # less is better


class Condition(Section):
    metric: str = Field(description="bits_per_byte, or of models with one tokenizer loss or perplexity")
    against: Literal["baseline", "champion", "retained", "absolute"] = Field(
        description="retained: the start of the training, on its own text; absolute: against `margin` itself"
    )
    margin: float = Field(
        description="the least by which the metric must be lower, below 0 the most by which it may be higher; with "
        "absolute, the value to beat"
    )
    confidence: float = Field(
        ge=0, lt=1, description="of the paired interval that must lie below; 0 compares the figures alone"
    )

    @field_validator("metric")
    @classmethod
    def _exists(cls, metric: str) -> str:
        if metric not in METRICS:
            raise ValueError(f"there is no such metric{known_names(metric, METRICS)}")
        return metric


class Limits(Section):
    """The most that a version may have; null is any."""

    bytes: Count | None = Field(description="of its model folder")
    parameters: Count | None
    skipped_batches: Count | None = Field(description="by the guard, while it trained")


class GateConfig(Section):
    """All conditions and all limits must hold."""

    conditions: tuple[Condition, ...]
    limits: Limits
