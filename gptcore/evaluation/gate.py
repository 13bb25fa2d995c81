"""The section `gate` of params.yaml: what a version must show to become champion."""

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from gptcore.config.params import Count, Section
from gptcore.errors import UserError, known_names
from gptcore.evaluation.benchmarks.names import LOWER_IS_BETTER
from gptcore.evaluation.benchmarks.names import METRICS as OF_TASKS
from gptcore.evaluation.config import TaskChoice

METRICS = {"bits_per_byte": "bits per byte", "loss": "nats per token", "perplexity": "perplexity"}  # less is better


class Condition(Section):
    metric: str = Field(
        description="bits_per_byte; of models with one tokenizer loss or perplexity; of a task of evaluate.tasks "
        "TASK.METRIC, such as lambada.acc"
    )
    against: Literal["baseline", "champion", "retained", "absolute"] = Field(
        description="retained: the start of the training, on its own text; absolute: against `margin` itself"
    )
    margin: float = Field(
        description="the least by which the metric must be better, below 0 the most by which it may be worse; with "
        "absolute, the value to beat"
    )
    confidence: float = Field(
        ge=0, lt=1, description="of the paired interval that must lie on the better side; 0 compares the figures alone"
    )

    @field_validator("metric")
    @classmethod
    def _exists(cls, metric: str) -> str:
        known = {name for names in OF_TASKS.values() for name in names} if "." in metric else METRICS
        task, _, name = metric.rpartition(".")
        if name not in known:
            raise ValueError(f"there is no such metric{f' of {task}' * bool(task)}{known_names(name, sorted(known))}")
        return metric

    @model_validator(mode="after")
    def _is_of_this_text(self) -> Self:
        if self.task and self.against == "retained":
            raise ValueError("a task is the same for a model and its start; compare it with baseline or champion")
        return self

    @property
    def task(self) -> str:
        """Empty for a metric of the validation text."""
        return self.metric.rpartition(".")[0]

    @property
    def name(self) -> str:
        return self.metric.rpartition(".")[2]

    @property
    def lower_is_better(self) -> bool:
        return not self.task or self.name in LOWER_IS_BETTER


class Limits(Section):
    """The most that a version may have; null is any."""

    bytes: Count | None = Field(description="of its model folder")
    parameters: Count | None = Field(description="of the model, with an adapter merged into it")
    skipped_batches: Count | None = Field(description="by the guard, while it trained")
    latency: Count | None = Field(description="microseconds per generated token, measured when it is registered")


class GateConfig(Section):
    """All conditions and all limits must hold."""

    conditions: tuple[Condition, ...] = Field(description="what it must beat, and by how much")
    limits: Limits

    def require(self, tasks: Iterable[TaskChoice]) -> None:
        """Raises UserError for a condition on a metric that none of `tasks` has."""
        known = [f"{each.task}.{name}" for each in tasks for name in OF_TASKS[each.output_type]]
        for number, each in enumerate(self.conditions):
            if each.task and each.metric not in known:
                remedy = known_names(each.metric, known) if known else "; evaluate.tasks is empty"
                raise UserError(
                    f"params.yaml: gate.conditions.{number}.metric: no task of evaluate.tasks has {each.metric}{remedy}"
                )
