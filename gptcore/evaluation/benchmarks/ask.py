"""Ask the model of a run, and its baseline, the tasks of `evaluate.tasks`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gptcore.config.settings import settings
from gptcore.evaluation.asked import Asked, Graded, Grades
from gptcore.evaluation.benchmarks.chosen import opened
from gptcore.evaluation.benchmarks.suite import Benchmark, Sample, run
from gptcore.evaluation.config import TaskChoice
from gptcore.model.folder import load_export


def ask(choices: Sequence[TaskChoice], model: Path, baseline: Path | None) -> list[Asked]:
    """What the model folder `model` answered, and `baseline` if there is one. Raises UserError, Unavailable."""
    benchmarks = [replace(opened(each), name=each.task) for each in choices]
    ours = _answers(model, benchmarks)
    theirs = _answers(baseline, benchmarks) if baseline else [None] * len(benchmarks)
    return [_asked(*each) for each in zip(choices, ours, theirs, strict=True)]


def _answers(export: Path, benchmarks: Sequence[Benchmark]) -> list[list[Sample]]:
    if not benchmarks:
        return []
    model, tokenizer = load_export(export, settings().torch_device())
    return [run(model, tokenizer, each) for each in benchmarks]


def _asked(choice: TaskChoice, ours: Sequence[Sample], theirs: Sequence[Sample] | None) -> Asked:
    metrics = {}
    for name in ours[0].item.best():
        best = [each.item.best()[name] for each in ours]
        weights = [grade[1] if isinstance(grade, tuple) else 1 for grade in best]
        baseline = None if theirs is None else _grades(name, theirs)
        metrics[name] = Graded(weights=weights, model=_grades(name, ours), baseline=baseline)
    return Asked(task=choice.task, sha256=choice.sha256, metrics=metrics)


def _grades(name: str, samples: Sequence[Sample]) -> Grades:
    grades = [each.grades.get(name) for each in samples]
    return [each[0] if isinstance(each, tuple) else each for each in grades]
