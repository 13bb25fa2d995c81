"""Conditions and limits of the gate: what was measured, whether it is enough, and a sentence that says so."""

import math
from dataclasses import dataclass

from gptcore.config.params import Metrics
from gptcore.evaluation.asked import Graded, Grades, figure
from gptcore.evaluation.benchmarks.paired import bounds
from gptcore.evaluation.gate import METRICS, Condition
from gptcore.evaluation.intervals import Units, intervals, measures

VERBS = {True: "beat", False: "do not beat"}
COUNTED = {  # of the limits: how much there is, by a sentence
    "bytes": ("it has {:,} bytes in its model folder", "nobody has counted the bytes in its model folder"),
    "parameters": ("it has {:,} parameters", "nobody has counted its parameters"),
    "skipped_batches": ("it has {:,} skipped batches", "nobody has counted its skipped batches"),
    "latency": ("it takes {:,} microseconds per generated token", "nobody has measured its microseconds per token"),
}


class Outcome(Metrics):
    """`value` is the version's, `other` what it is compared with; `low` and `high` bound the difference, if known."""

    what: str
    value: float | None
    other: float | None
    low: float | None = None
    high: float | None = None
    passed: bool
    why: str


@dataclass(frozen=True)
class Figures:
    """What an outcome is of. `short` says why there are no bounds where a confidence asks for them."""

    value: float
    other: float
    low: float | None
    high: float | None
    unit: str
    short: str
    note: str = ""


def failed(condition: Condition, why: str) -> Outcome:
    return Outcome(what=named(condition), value=None, other=None, passed=False, why=why)


def named(condition: Condition) -> str:
    return f"{condition.metric} against {condition.against}"


def on_text(condition: Condition, units: Units, whose: str) -> Outcome:
    """Of the losses of two models on one text; with `absolute`, of the model twice."""
    column = ("loss", "perplexity", "bits_per_byte").index(condition.name)
    value, other = (float(each) for each in measures(units.whole)[:, column])
    low = high = None
    if condition.confidence and len(units.sums) > 1:
        model, _, difference = intervals(units, condition.confidence)
        interval = getattr(model if condition.against == "absolute" else difference, condition.name)
        low, high = interval.low, interval.high
    short = "the text is a single window, too short for an interval"
    return _outcome(condition, Figures(value, other, low, high, METRICS[condition.name], short), whose)


def on_task(condition: Condition, graded: Graded, theirs: Grades, whose: str) -> Outcome:
    """Of the grades of two models on the same items; with `absolute`, of the model twice.

    Items that could not be asked are in no value and in all bounds, also where a confidence of 0 compares figures.
    """
    name, weights, level = condition.name, graded.weights, condition.confidence
    ours, other = (figure(name, weights, grades, level) for grades in (graded.model, theirs))
    if ours.value is None or other.value is None:
        return failed(condition, f"no item of {condition.task} could be asked for its {name}")
    ungraded = sum(None in pair for pair in zip(graded.model, theirs, strict=True))
    note = f" ({ungraded:,} of {len(theirs):,} items could not be asked)" if ungraded else ""
    if condition.against == "absolute":
        low, high = ours.interval
        found = None if low is None else (low, math.inf if high is None else high)
    else:
        found = bounds(name, weights, graded.model, theirs, level)
    low, high = found if found and (level or ungraded) else (None, None)
    short = f"{condition.task} has too few items for an interval"
    return _outcome(condition, Figures(ours.value, other.value, low, high, f"{name} of {condition.task}", short, note),
                    whose)  # fmt: skip


def _outcome(condition: Condition, found: Figures, whose: str) -> Outcome:
    """The bounds, or the figures alone without a confidence, must lie beyond the margin; what is no number does not."""
    other, low, high, margin = found.other, found.low, found.high, condition.margin
    if condition.against == "absolute":
        other, margin = condition.margin, 0.0
        low, high = (None if each is None else each - other for each in (low, high))
    sign = 1 if condition.lower_is_better else -1
    if low is None or high is None:
        passed = not condition.confidence and sign * (found.value - other) < -margin
    else:
        passed = max(sign * low, sign * high) < -margin
    outcome = Outcome(what=named(condition), value=found.value, other=other, low=low, high=high, passed=passed, why="")
    return outcome.model_copy(update={"why": _why(outcome, found, condition, margin, whose)})


def _why(outcome: Outcome, found: Figures, condition: Condition, margin: float, whose: str) -> str:
    value, other = found.value, found.other if condition.against != "absolute" else condition.margin
    where = "on its start's text " if condition.against == "retained" else ""
    subject = f"{where}its {value:.4f} {found.unit}"
    if not math.isfinite(value):
        return f"{subject} are no finite number"
    side, worse, least = ("below", "exceed", -margin) if condition.lower_is_better else ("above", "are below", margin)
    is_worse = value > other if condition.lower_is_better else value < other
    verb = VERBS[outcome.passed] if margin >= 0 else worse if is_worse else "beat"
    said, asked = f"{subject} {verb} {whose} {other:.4f}{found.note}", ""
    if margin:
        asked = f", {side} {least:+.4f}" if outcome.passed else f"; it must be {side} {least:+.4f}"
    if outcome.low is None or outcome.high is None:
        short = found.short if condition.confidence else f"the difference is {value - other:+.4f}{asked}"
        return f"{said}: {short}"
    sure = "" if not condition.confidence else f" ({100 * condition.confidence:.6g} %)"
    if outcome.passed and margin >= 0:
        least, most = sorted((abs(outcome.low), abs(outcome.high)))
        return f"{said} by {least:.4f} to {most:.4f}{sure}"
    return f"{said}: the difference is {outcome.low:+.4f} to {outcome.high:+.4f}{sure}{asked}"


def limited(name: str, most: int, facts: dict[str, int]) -> Outcome:
    value, (said, unknown) = facts.get(name), COUNTED[name]
    passed = value is not None and value <= most
    relation = "at most" if passed else "more than"
    why = f"{unknown}, which gate.limits.{name} is about"
    if value is not None:
        why = f"{said.format(value)}, {relation} gate.limits.{name} {most:,}"
    return Outcome(what=f"limit of {name}", value=value, other=most, passed=passed, why=why)
