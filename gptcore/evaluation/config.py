"""The section of params.yaml that configures the evaluation, and the metrics it returns. Imports no torch (2 s)."""

from pydantic import Field

from gptcore.config.params import Metrics, Section
from gptcore.model.config import LONGEST_BLOCK


class EvaluateConfig(Section):
    block_size: int = Field(gt=0, le=LONGEST_BLOCK, description="Tokens per window; at most both models' block_size")


class ModelMetrics(Metrics):
    """`seconds` is training time without evaluation and checkpoints."""

    loss: float
    loss_standard_error: float
    perplexity: float
    bits_per_byte: float
    parameters: int
    tokens: int
    seconds: float
    tokens_per_second: float


class Difference(Metrics):
    """Model minus baseline; the standard error is of the paired difference."""

    loss: float
    loss_standard_error: float
    perplexity: float
    bits_per_byte: float


class Reached(Metrics):
    """When the model's validation loss first reached the baseline's final loss; None if it never did."""

    steps: int | None
    seconds: float | None
    speedup: float | None


class Validation(Metrics):
    tokens: int
    bytes: int


class EvaluateMetrics(Metrics):
    model: ModelMetrics
    baseline: ModelMetrics
    difference: Difference
    baseline_loss_reached: Reached
    validation: Validation
