"""The sections of params.yaml that configure a training run, and the metrics it returns. Imports no torch (2 s)."""

from typing import Annotated, Literal

from pydantic import Field

from gptcore.config.params import Metrics, Section, Seed
from gptcore.model.config import LONGEST_BLOCK

Order = Literal["epochs", "documents", "crops"]
Precision = Literal["auto", "bfloat16", "float16", "float32"]
LAST_STEP = 999_999_999  # names of checkpoints have nine digits
Steps = Annotated[int, Field(gt=0, le=LAST_STEP)]
BatchTokens = Annotated[int, Field(gt=0, le=1 << 26)]  # some batches of ids are in memory at once
WindowTokens = Annotated[int, Field(gt=0, le=LONGEST_BLOCK)]


class OptimConfig(Section):
    matrices: Literal["muon", "adamw"] = Field(description="Optimizer of the blocks' matrices; the rest is AdamW's")
    matrix_learning_rate: float = Field(gt=0, description="Peak, blocks' matrices")
    embedding_learning_rate: float = Field(gt=0, description="Peak, embedding tables")
    head_learning_rate: float = Field(gt=0, description="Peak, output head; where it is tied, also tables added to it")
    scalar_learning_rate: float = Field(gt=0, description="Peak, biases, norm gains and learned scalars")
    adam_betas: tuple[float, float] = Field(description="Decay of AdamW's two moments, per step")
    adam_eps: float = Field(gt=0, description="Added to AdamW's denominator")
    muon_momentum: float = Field(ge=0, lt=1, description="Muon's momentum after its warm-up from 0.85")
    muon_momentum_warmup_steps: int = Field(ge=0, le=LAST_STEP, description="Steps until muon_momentum is reached")
    matrix_weight_decay: float = Field(ge=0, description="Decoupled, times the learning rate, blocks' matrices")
    embedding_weight_decay: float = Field(
        ge=0, description="The same for embedding tables and head; nanoGPT decays them"
    )
    gradient_clip: float = Field(ge=0, description="Largest norm of the whole gradient; 0 is off")
    schedule: Literal["wsd", "cosine"] = Field(description="warm-up, stable, linear decay; or warm-up, cosine")
    warmup_steps: int = Field(ge=0, le=LAST_STEP, description="Steps of linear warm-up")
    cooldown_fraction: float = Field(ge=0, le=1, description="wsd: share of all steps in the linear decay")
    final_learning_rate_fraction: float = Field(ge=0, le=1, description="Of the peak, at the end")


class TrainConfig(Section):
    start: str = Field(
        description="The model to go on from: a folder, a ckpt.pt, a hub name, models:/gpt/3; empty: random weights"
    )
    start_sha256: str = Field(
        pattern="^([0-9a-f]{64})?$", description="Of the start's weights; `gptcore configure` fills it in"
    )
    seed: Seed = Field(description="Of weights, data order and dropout")
    steps: Steps = Field(description="Optimizer steps")
    batch_tokens: BatchTokens = Field(description="Tokens per step, over all devices; a multiple of model.block_size")
    order: Order = Field(
        description="epochs: every window once per epoch; documents: the same, cut where documents start; "
        "crops: nanoGPT's random crops"
    )
    precision: Precision = Field(description="Of matrix products; auto is bfloat16 where the hardware has it")
    target_loss: float = Field(ge=0, description="Training ends where the curve's val_loss is at or under it; 0 is off")
    spike_nats: float = Field(
        ge=0, description="A batch whose loss is so far above the mean of the last 20 is left out; 0 is off"
    )
    skipped_batches_limit: int = Field(
        ge=0,
        le=1_000_000,
        description="Batches left out for a spike or a loss that is no number; one more ends the run",
    )
    samples: int = Field(ge=0, le=10_000, description="How often in the run text is sampled, evenly spaced")
    sample_prompt: str = Field(description="What the samples go on from, or answer; empty starts a document")
    sample_tokens: int = Field(ge=0, le=1_000_000, description="Tokens per sample")


class CurveConfig(Section):
    """How to evaluate validation loss during training; the same for the model and its baseline."""

    points: int = Field(gt=0, le=100_000, description="Evaluations over the run, evenly spaced")
    windows: int = Field(
        gt=0, le=1_000_000_000, description="Validation windows per evaluation, spread evenly over the split"
    )
    block_size: WindowTokens = Field(description="Tokens per window; at most both models' block_size")


class TrainMetrics(Metrics):
    train_loss: float
    val_loss: float
    steps: int
    tokens: int
    skipped_batches: int
    records_left_out: int  # of prompts and responses: those whose responses begin after the window
    parameters: int  # of the model; of an adapter, merged into it
    trained_parameters: int
