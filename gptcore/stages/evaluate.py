"""data/model, data/baseline, data/tokens -> data/evaluation: both models on all validation tokens, same windows."""

from gptcore.config.paths import Paths
from gptcore.evaluation.config import EvaluateConfig, EvaluateMetrics
from gptcore.stages.run_stage import run_stage


def evaluate(evaluate: EvaluateConfig, paths: Paths) -> EvaluateMetrics:
    from gptcore.evaluation.comparison import compare
    from gptcore.training.memory import keep_freed_memory

    keep_freed_memory()
    return compare(paths, evaluate)


if __name__ == "__main__":
    from gptcore.ranks.start import start_ranks

    run_stage(evaluate, start_ranks)
