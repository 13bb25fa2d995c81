"""data/tokens -> data/model: train the model."""

from gptcore.distributed import start_ranks
from gptcore.model import ModelConfig
from gptcore.optim import OptimConfig
from gptcore.params import Paths, run_stage
from gptcore.run import CurveConfig, Run, TrainMetrics
from gptcore.train import TrainConfig


def train(model: ModelConfig, optim: OptimConfig, train: TrainConfig, curve: CurveConfig, paths: Paths) -> TrainMetrics:
    return Run("train", model, optim, train, curve, paths, paths.model).to_the_end()


if __name__ == "__main__":
    run_stage(train, start_ranks)
