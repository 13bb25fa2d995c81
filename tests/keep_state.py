"""The stage train, but the state with which it ended stays behind: `python -m tests.keep_state` in a workspace."""

from safetensors.torch import save_file

from gptcore.model import ModelConfig
from gptcore.optim import OptimConfig
from gptcore.params import Paths, run_stage
from gptcore.run import CurveConfig, Run, TrainMetrics
from gptcore.train import TrainConfig


def train(model: ModelConfig, optim: OptimConfig, train: TrainConfig, curve: CurveConfig, paths: Paths) -> TrainMetrics:
    run = Run("train", model, optim, train, curve, paths, paths.model)
    metrics = run.to_the_end()
    save_file(run.state.tensors(), paths.root / "final.safetensors")
    return metrics


if __name__ == "__main__":
    run_stage(train)
