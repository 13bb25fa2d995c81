"""data/tokens -> data/model: train the model, or an adapter of it."""

from gptcore.config.paths import Paths
from gptcore.model.config import ModelConfig
from gptcore.model.lora_config import LoraConfig
from gptcore.stages.run_stage import run_stage
from gptcore.training.config import CurveConfig, OptimConfig, TrainConfig, TrainMetrics


def train(
    model: ModelConfig, lora: LoraConfig, optim: OptimConfig, train: TrainConfig, curve: CurveConfig, paths: Paths
) -> TrainMetrics:
    from gptcore.training.run import Run

    return Run("train", model, optim, train, curve, paths, paths.model, lora.if_any()).to_the_end()


if __name__ == "__main__":
    from gptcore.ranks.start import start_ranks

    run_stage(train, start_ranks)
