"""data/tokens -> data/baseline: nanoGPT's recipe on the same tokens, for the same number of tokens; or another model.

The recipe is nanoGPT's train.py through our trainer: GPT-2's architecture, AdamW, warm-up and cosine, random crops.
"""

from pydantic import Field

from gptcore.config.params import Metrics, Section, Seed, View
from gptcore.config.paths import Paths
from gptcore.errors import UserError
from gptcore.model.config import ModelConfig
from gptcore.stages.run_stage import run_stage
from gptcore.training.config import (
    LAST_STEP,
    BatchTokens,
    CurveConfig,
    OptimConfig,
    Precision,
    Steps,
    TrainConfig,
)

TRAIN, START = "train", "start"


class BaselineConfig(Section):
    source: str = Field(
        min_length=1,
        description="train; start, for train.start itself; or a model to take as it is: a folder, a ckpt.pt, a name "
        "on the hub, models:/gpt/3",
    )
    sha256: str = Field(description="Of the weights of a model that is taken; `gptcore configure` fills it in")
    seed: Seed = Field(description="Of weights, data order and dropout")
    batch_tokens: BatchTokens = Field(description="Tokens per step; a multiple of baseline.model.block_size")
    precision: Precision = Field(description="nanoGPT is float32 on CPU and bfloat16 on GPU")
    model: ModelConfig
    optim: OptimConfig


class TokenBudget(View):
    """The number of tokens the model trains on; the baseline uses the same number."""

    steps: Steps
    batch_tokens: BatchTokens


def baseline(baseline: BaselineConfig, train: TokenBudget, curve: CurveConfig, paths: Paths) -> Metrics:
    from gptcore.ranks.distributed import is_first
    from gptcore.stages.taken import TakenMetrics, take, take_start
    from gptcore.training.run import Run

    if baseline.source == START:
        return take_start(paths) if is_first() else TakenMetrics()
    if baseline.source != TRAIN:
        return take(baseline.source, baseline.sha256, paths) if is_first() else TakenMetrics()
    steps = max(round(train.steps * train.batch_tokens / baseline.batch_tokens), 1)
    if steps > LAST_STEP:
        least = -(-train.steps * train.batch_tokens // LAST_STEP)
        raise UserError(
            f"baseline.batch_tokens {baseline.batch_tokens} makes {steps:,} steps of train's tokens; "
            f"at most {LAST_STEP:,} are possible: raise it to {least:,} or more"
        )
    recipe = TrainConfig(
        start="", start_sha256="", seed=baseline.seed, steps=steps, batch_tokens=baseline.batch_tokens, order="crops",
        precision=baseline.precision, target_loss=0, samples=0, sample_prompt="", sample_tokens=0,
        spike_nats=0, skipped_batches_limit=3,  # nanoGPT ignores spikes; NaN batches are skipped
    )  # fmt: skip
    return Run("baseline", baseline.model, baseline.optim, recipe, curve, paths, paths.baseline).to_the_end()


if __name__ == "__main__":
    from gptcore.ranks.start import start_ranks

    run_stage(baseline, start_ranks)
