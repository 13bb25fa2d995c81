"""data/tokens -> data/model: train the model."""

from gptcore.config.paths import Paths
from gptcore.model.config import ModelConfig
from gptcore.stages.run_stage import run_stage
from gptcore.training.distributed import start_ranks
from gptcore.training.optim import OptimConfig
from gptcore.training.run import CurveConfig, Run, TrainMetrics
from gptcore.training.train import TrainConfig


def train(model: ModelConfig, optim: OptimConfig, train: TrainConfig, curve: CurveConfig, paths: Paths) -> TrainMetrics:
    return Run("train", model, optim, train, curve, paths, paths.model).to_the_end()


if __name__ == "__main__":
    run_stage(train, start_ranks)
