"""Measure every checkpoint of a training on the same text. `python -m flows.evaluate_checkpoints --help`."""

import argparse
from functools import partial
from pathlib import Path

from prefect import flow

from flows.terminal import purpose, run, server
from gptcore.config.params import read_params, validate_section
from gptcore.config.paths import Paths
from gptcore.evaluation.config import EvaluateConfig
from tasks.checkpoint import Points, evaluate_checkpoint
from tasks.stop import unless_stopped

MODELS = "data/model"


@flow(name="evaluate-checkpoints")
def evaluate_checkpoints(models: str = MODELS, benchmarks: list[str] | None = None, data: str | None = None) -> str:
    """Measure each model in a folder on the validation windows and on benchmarks, and log each to MLflow once.

    MLflow shows the curve over steps. Started again, this measures only what has no point yet. Returns the curve.

    Args:
        models: The folder that holds them: `data/model`, or one with `step-1000`, `step-2000` and so on.
        benchmarks: What `gptcore evaluate` takes as tasks.
        data: The folder with the rows of known benchmarks; without it they are from the hub.
    """
    from gptcore.evaluation.benchmarks.suite import open_benchmark
    from gptcore.evaluation.checkpoints import Question, checkpoints

    paths = Paths(Path.cwd())
    config = validate_section(read_params(paths.params), "evaluate", EvaluateConfig)
    found = checkpoints(paths.root / models)
    asked = [open_benchmark(each, Path(data) if data else None, None) for each in benchmarks or []]
    question = Question(paths, config, asked)
    tags, sha256 = question.tags(), {each.step: each.model_sha256 for each in found}
    points: Points = {}
    for each in found:
        figures = partial(question.figures, each)
        state = unless_stopped(evaluate_checkpoint(each.step, figures, models, tags, sha256, paths.root))
        points = state.result()
    return _table({each.step: points[each.step] for each in found})


def _table(points: Points) -> str:
    names = list(dict.fromkeys(name for each in points.values() for name in each))
    rows = [["step", *names], ["---:" for _ in ("step", *names)]]
    for step, each in points.items():
        rows.append([f"{step:,}", *(f"{each[name]:.4f}" if name in each else "" for name in names)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m flows.evaluate_checkpoints", description=purpose(evaluate_checkpoints)
    )
    parser.add_argument("models", nargs="?", default=MODELS, metavar="FOLDER", help="holds the models; %(default)s")
    parser.add_argument("--tasks", default="", help="hellaswag, lambada, wikitext or FILE.jsonl; commas between")
    parser.add_argument("--data", metavar="FOLDER", help="holds hellaswag.jsonl and so on; else: the hub")
    arguments = parser.parse_args()
    benchmarks = arguments.tasks.split(",") if arguments.tasks else []

    def start() -> str:
        with server():
            return evaluate_checkpoints(arguments.models, benchmarks, arguments.data)

    run(start)


if __name__ == "__main__":
    _main()
