"""The section of params.yaml that configures the evaluation, and the metrics it returns. Imports no torch (2 s)."""

from typing import Literal, Self

from pydantic import Field, model_validator

from gptcore.config.params import Count, Metrics, Section
from gptcore.model.config import LONGEST_BLOCK


class TaskChoice(Section):
    """Questions that both models are asked. `gptcore configure 'evaluate.tasks=[lambada]'` fills in all of it."""

    task: str = Field(pattern=r"^\w+$", description="its name, as in lambada.acc")
    source: str = Field(min_length=1, description="a file of one row a line, *.jsonl, or hf://… with a revision")
    output_type: Literal["multiple_choice", "loglikelihood", "loglikelihood_rolling"] = Field(
        description="what is asked: a choice, a last word or a whole text; lm-eval's words"
    )
    limit: Count = Field(description="only the first so many rows; 0 is all")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of what is asked; `gptcore configure` fills it in")


class EvaluateConfig(Section):
    block_size: int = Field(gt=0, le=LONGEST_BLOCK, description="Tokens per window; at most both models' block_size")
    stride: int = Field(
        gt=0, le=LONGEST_BLOCK, description="Tokens scored per window, with at least block_size - stride before each"
    )
    tasks: tuple[TaskChoice, ...] = Field(description="Benchmarks that both models are asked, for the gate to judge by")

    @model_validator(mode="after")
    def _no_token_is_left_out(self) -> Self:
        if self.stride > self.block_size:
            raise ValueError(f"stride {self.stride} is longer than block_size {self.block_size}")
        return self

    @model_validator(mode="after")
    def _names_are_of_one_task(self) -> Self:
        names = [each.task for each in self.tasks]
        if twice := next((each for each in names if names.count(each) > 1), None):
            raise ValueError(f"two tasks are named {twice}")
        return self


class TextMetrics(Metrics):
    """Of a model on a text; `loss_standard_error` takes windows as independent."""

    loss: float
    loss_standard_error: float
    perplexity: float
    bits_per_byte: float


class ModelMetrics(TextMetrics):
    """`seconds` is training without evaluation and checkpoints. Of a model that was not trained here, the last three
    are None.
    """

    parameters: int
    tokens: int | None
    seconds: float | None
    tokens_per_second: float | None


class Difference(Metrics):
    """Model minus baseline; the standard error is that of the paired difference.

    Tokens of another tokenizer are other tokens: then only bits per byte have a difference.
    """

    loss: float | None
    loss_standard_error: float | None
    perplexity: float | None
    bits_per_byte: float


class Reached(Metrics):
    """When the model's validation loss first reached the baseline's final loss; None if it never did."""

    steps: int | None
    seconds: float | None
    speedup: float | None


class EqualTime(Metrics):
    """Both losses, of the curves' windows, after `seconds` of training: those that the shorter of the two took.

    A loss between two evaluations is interpolated; it is None before the first. `seconds` is None without a curve.
    """

    seconds: float | None
    model: float | None
    baseline: float | None


class Validation(Metrics):
    """What was measured. Of prompts and responses, `tokens` and `bytes` are those of the responses alone.

    `prompt_tokens` are those that are not counted.
    """

    tokens: int
    bytes: int
    documents: int
    prompt_tokens: int = 0


class Retained(Metrics):
    """The model and its start, both on the validation text of the start."""

    model: TextMetrics
    start: TextMetrics
    difference: Difference
    validation: Validation


class TaskMetrics(Metrics):
    """Of both models on one metric of a task; None if no item of it could be asked."""

    model: float | None
    baseline: float | None
    ungraded: int


class EvaluateMetrics(Metrics):
    model: ModelMetrics
    baseline: ModelMetrics
    difference: Difference
    baseline_loss_reached: Reached
    at_equal_time: EqualTime
    validation: Validation
    retained: Retained | None = Field(description="None without a start, or where nothing is known of its text")
    tasks: dict[str, dict[str, TaskMetrics]] = Field(description="By task and metric")
