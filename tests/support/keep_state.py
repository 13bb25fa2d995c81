"""The train stage, keeping its final state: `python -m tests.support.keep_state` in a workspace."""

from safetensors.torch import save_file

from gptcore.config.paths import Paths
from gptcore.model.config import ModelConfig
from gptcore.model.lora_config import LoraConfig
from gptcore.stages.run_stage import run_stage
from gptcore.training.config import CurveConfig, OptimConfig, TrainConfig, TrainMetrics
from gptcore.training.run import Run


def train(
    model: ModelConfig, lora: LoraConfig, optim: OptimConfig, train: TrainConfig, curve: CurveConfig, paths: Paths
) -> TrainMetrics:
    run = Run("train", model, optim, train, curve, paths, paths.model, lora.if_any())
    metrics = run.to_the_end()
    save_file(run.state.tensors(), paths.root / "final.safetensors")
    return metrics


if __name__ == "__main__":
    run_stage(train)
