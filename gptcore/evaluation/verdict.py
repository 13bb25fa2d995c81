"""The gate's verdict on a version, computed from measurements alone: its record is enough to compute it again."""

import json
import math
from typing import Any

import numpy as np

from gptcore.config.params import Metrics
from gptcore.errors import UserError
from gptcore.evaluation.gate import METRICS, Condition, GateConfig
from gptcore.evaluation.intervals import Units, intervals, measures
from gptcore.evaluation.measured import Measured, paired

VERBS = {True: "beat", False: "do not beat"}


class Inputs(Metrics):
    """`own` is measured on the version's own validation text, with its baseline.

    `champion` is measured on one text with `beside`, which is the version again if that text is another than its own.
    `retained` is the version on the text of the model that its training began with, which is in place of the baseline.
    """

    version: int
    own: Measured
    champion_version: int | None
    champion: Measured | None
    beside: Measured | None = None
    retained: Measured | None = None


class Outcome(Metrics):
    """`value` is the version's, `other` what it is compared with; `low` and `high` bound the difference, if known."""

    what: str
    value: float | None
    other: float | None
    low: float | None = None
    high: float | None = None
    passed: bool
    why: str


class Verdict(Metrics):
    passed: bool
    because: str
    outcomes: tuple[Outcome, ...]
    gate: GateConfig
    inputs: Inputs

    def record(self) -> str:
        """The JSON file from which `replay` computes it again."""
        return json.dumps(self.model_dump(mode="python"), ensure_ascii=False) + "\n"


def judge(gate: GateConfig, inputs: Inputs) -> Verdict:
    outcomes = [found for each in gate.conditions if (found := _compare(each, inputs))]
    outcomes += [
        _limit(name, most, inputs.own.facts) for name, most in gate.limits.model_dump().items() if most is not None
    ]
    return Verdict(
        passed=all(each.passed for each in outcomes),
        because=_because(outcomes),
        outcomes=tuple(outcomes),
        gate=gate,
        inputs=inputs,
    )


def read_record(text: str) -> Verdict:
    """Raises UserError."""
    try:
        values: Any = json.loads(text)
        values["gate"] = GateConfig.model_validate_json(json.dumps(values["gate"]))
        return Verdict.model_validate(values)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"the record of the verdict cannot be read: {str(error).splitlines()[0]}") from None


def replay(recorded: Verdict) -> Verdict | None:
    """The verdict computed again from the inputs of a record; None if another one comes out."""
    again = judge(recorded.gate, recorded.inputs)
    pairs = list(zip(again.outcomes, recorded.outcomes, strict=False))
    same = len(again.outcomes) == len(recorded.outcomes) and all(_is_same(*pair) for pair in pairs)
    return again if same and again.passed == recorded.passed else None


def _is_same(one: Outcome, other: Outcome) -> bool:
    """Up to the rounding of another processor or version of numpy."""
    ours, theirs = (np.array([each.value, each.other, each.low, each.high], np.float64) for each in (one, other))
    is_close = np.allclose(ours, theirs, rtol=1e-6, atol=1e-9, equal_nan=True)  # None has become NaN
    return is_close and one.what == other.what and one.passed == other.passed


def _compare(condition: Condition, inputs: Inputs) -> Outcome | None:
    """None if there is nothing to compare with: no version is champion yet."""
    what = f"{condition.metric} against {condition.against}"
    if condition.against == "champion":
        if inputs.champion is None:
            return None
        ours, theirs, whose = inputs.beside or inputs.own, inputs.champion, f"version {inputs.champion_version}'s"
    elif condition.against == "baseline":
        if (baseline := inputs.own.of_baseline()) is None:
            return Outcome(what=what, value=None, other=None, passed=False, why="it was not measured with a baseline")
        ours, theirs, whose = inputs.own, baseline, "the baseline's"
    elif condition.against == "retained":
        if inputs.retained is None or (start := inputs.retained.of_baseline()) is None:
            why = "nobody knows what it has forgotten: it has no start, or nothing is known of its start's text"
            return Outcome(what=what, value=None, other=None, passed=False, why=why)
        ours, theirs, whose = inputs.retained, start, "the start's"
    else:
        ours, theirs, whose = inputs.own, inputs.own, "the gate's"
    if condition.metric != "bits_per_byte" and ours.model.whole_tokens != theirs.model.whole_tokens:
        why = f"its {METRICS[condition.metric]} cannot be compared with {whose}: their tokens are not the same"
        return Outcome(what=what, value=None, other=None, passed=False, why=why)
    return _outcome(condition, what, paired(ours, theirs), whose)


def _outcome(condition: Condition, what: str, units: Units, whose: str) -> Outcome:
    """An interval, or the figure alone without a confidence, must lie below -margin; what is not a number does not."""
    column = ("loss", "perplexity", "bits_per_byte").index(condition.metric)
    value, other = (float(each) for each in measures(units.whole)[:, column])
    is_absolute, margin = condition.against == "absolute", condition.margin
    if is_absolute:
        other, margin = condition.margin, 0.0
    found = Outcome(what=what, value=value, other=other, passed=not condition.confidence and value - other < -margin,
                    why="")  # fmt: skip
    if condition.confidence and len(units.sums) > 1:
        model, _, difference = intervals(units, condition.confidence)
        interval = getattr(model if is_absolute else difference, condition.metric)
        low, high = (bound - other * is_absolute for bound in (interval.low, interval.high))
        found = found.model_copy(update={"low": low, "high": high, "passed": high < -margin})
    return found.model_copy(update={"why": _why(found, value, other, condition, margin, whose)})


def _why(found: Outcome, value: float, other: float, condition: Condition, margin: float, whose: str) -> str:
    where = "on its start's text " if condition.against == "retained" else ""
    subject = f"{where}its {value:.4f} {METRICS[condition.metric]}"
    if not math.isfinite(value):
        return f"{subject} are no finite number"
    verb = VERBS[found.passed] if margin >= 0 else "exceed" if value > other else "beat"
    said, asked = f"{subject} {verb} {whose} {other:.4f}", ""
    if margin:
        asked = f", below {-margin:+.4f}" if found.passed else f"; it must be below {-margin:+.4f}"
    if found.low is None or found.high is None:
        if condition.confidence:
            return f"{said}: the text is a single window, too short for an interval"
        return f"{said}: the difference is {value - other:+.4f}{asked}"
    sure = "(95 %)" if condition.confidence == 0.95 else f"({100 * condition.confidence:.6g} %)"
    if found.passed and margin >= 0:
        return f"{said} by {-found.high:.4f} to {-found.low:.4f} {sure}"
    return f"{said}: the difference is {found.low:+.4f} to {found.high:+.4f} {sure}{asked}"


def _limit(name: str, most: int, facts: dict[str, int]) -> Outcome:
    value = facts.get(name)
    named = "bytes in its model folder" if name == "bytes" else name.replace("_", " ")
    passed = value is not None and value <= most
    relation = "at most" if passed else "more than"
    why = f"it has {value:,} {named}, {relation} gate.limits.{name} {most:,}" if value is not None else (
        f"nobody has counted its {named}, which gate.limits.{name} is about"
    )  # fmt: skip
    return Outcome(what=f"limit of {name}", value=value, other=most, passed=passed, why=why)


def _because(outcomes: list[Outcome]) -> str:
    """What it beats, and then what speaks against it."""
    holds = [each.why for each in outcomes if each.passed and not each.what.startswith("limit")]
    fails = [each.why for each in outcomes if not each.passed]
    told = ", but ".join(" and ".join(each) for each in (holds, fails) if each)
    covers = "; the interval is of one seed: it covers the text, not the training" if _is_sure(outcomes) else ""
    return told + covers or "the gate sets no condition for it"


def _is_sure(outcomes: list[Outcome]) -> bool:
    return any(each.low is not None for each in outcomes)
