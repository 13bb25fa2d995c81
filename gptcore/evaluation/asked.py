"""What models answered to a task, kept item by item: any two of them can be compared later, without either."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Self

from gptcore.config.params import Metrics
from gptcore.evaluation.benchmarks.metrics import Measure, measure
from gptcore.evaluation.benchmarks.names import LOWER_IS_BETTER
from gptcore.evaluation.intervals import LEVEL

if TYPE_CHECKING:
    from gptcore.evaluation.benchmarks.items import Grade

Grades = list[float | None]  # one for each item; None is none, as the model could not be asked it


class Graded(Metrics):
    """The grades of one metric: 0 and 1, or log-probabilities that `weights` words or bytes share."""

    weights: list[int]
    model: Grades
    baseline: Grades | None


class Asked(Metrics):
    """`sha256` is that of the questions, by name of metric."""

    task: str
    sha256: str
    metrics: dict[str, Graded]

    def only(self, names: Collection[str]) -> Self:
        """The same with these metrics alone, as far as it has them."""
        found = {name: each for name, each in self.metrics.items() if name in names}
        return self.model_copy(update={"metrics": found})


def figure(name: str, weights: list[int], grades: Grades, level: float = LEVEL) -> Measure:
    """The metric of one model, with its interval."""
    is_logprob = name in LOWER_IS_BETTER
    pairs = list(zip(grades, weights, strict=True))
    known: list[Grade] = [(grade, weight) if is_logprob else grade for grade, weight in pairs if grade is not None]
    best: list[Grade] = [(0.0, weight) if is_logprob else 1.0 for grade, weight in pairs if grade is None]
    return measure(name, known, best, level)
