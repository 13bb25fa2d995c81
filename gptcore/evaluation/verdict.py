"""The gate's verdict on a version, computed from measurements alone: its record is enough to compute it again."""

import json
from typing import Any

import numpy as np
from pydantic import Field

from gptcore.config.params import Metrics
from gptcore.errors import UserError
from gptcore.evaluation.asked import Asked
from gptcore.evaluation.conditions import Outcome, failed, limited, on_task, on_text
from gptcore.evaluation.gate import METRICS, Condition, GateConfig, Limits
from gptcore.evaluation.measured import Measured, paired

SUFFIX = "'s"


class Inputs(Metrics):
    """`own` is measured on the version's own validation text, with its baseline.

    `champion` is measured on one text with `beside`, which is the version again if that text is another than its own.
    `retained` is the version on the text of the model that its training began with, which is in place of the baseline.
    `tasks` are what version and baseline answered, by task, `champion_tasks` what the champion did.
    """

    version: int
    own: Measured
    champion_version: int | None
    champion: Measured | None
    beside: Measured | None = None
    retained: Measured | None = None
    tasks: dict[str, Asked] = Field(default_factory=dict)
    champion_tasks: dict[str, Asked] = Field(default_factory=dict)


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
        limited(name, most, inputs.own.facts) for name, most in gate.limits.model_dump().items() if most is not None
    ]
    return Verdict(
        passed=all(each.passed for each in outcomes),
        because=_because(outcomes),
        outcomes=tuple(outcomes),
        gate=gate,
        inputs=inputs,
    )


def read_record(text: str) -> Verdict:
    """Raises UserError. A record that is older than a limit does not have it."""
    try:
        values: Any = json.loads(text)
        gate = values["gate"]
        gate = {**gate, "limits": {**dict.fromkeys(Limits.model_fields), **gate["limits"]}}
        values["gate"] = GateConfig.model_validate_json(json.dumps(gate))
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
    whose = {"baseline": "the baseline's", "retained": "the start's", "absolute": "the gate's"}.get(
        condition.against, f"version {inputs.champion_version}'s"
    )
    if condition.against == "champion" and inputs.champion_version is None:
        return None
    return _answers(condition, inputs, whose) if condition.task else _losses(condition, inputs, whose)


def _losses(condition: Condition, inputs: Inputs, whose: str) -> Outcome:
    ours: Measured | None = inputs.own
    theirs: Measured | None = inputs.own
    if condition.against == "champion":
        ours, theirs = inputs.beside or inputs.own, inputs.champion
    elif condition.against == "baseline":
        theirs = inputs.own.of_baseline()
    elif condition.against == "retained":
        ours, theirs = inputs.retained, inputs.retained and inputs.retained.of_baseline()
    if ours is None or theirs is None:
        why = f"it was not measured with {whose.removesuffix(SUFFIX)}"
        if condition.against == "retained":
            why = "nobody knows what it has forgotten: it has no start, or nothing is known of its start's text"
        return failed(condition, why)
    if condition.metric != "bits_per_byte" and ours.model.whole_tokens != theirs.model.whole_tokens:
        unit = METRICS[condition.metric]
        return failed(condition, f"its {unit} cannot be compared with {whose}: their tokens are not the same")
    return on_text(condition, paired(ours, theirs), whose)


def _answers(condition: Condition, inputs: Inputs, whose: str) -> Outcome:
    asked, other = inputs.tasks.get(condition.task), inputs.champion_tasks.get(condition.task)
    ours = asked.metrics.get(condition.name) if asked else None
    if asked is None or ours is None:
        return failed(condition, f"it was not asked for {condition.metric}")
    theirs = ours.model if condition.against == "absolute" else ours.baseline
    if condition.against == "champion":
        found = other.metrics.get(condition.name) if other and other.sha256 == asked.sha256 else None
        theirs = found.model if found else None
    if theirs is None:
        return failed(condition, f"{whose.removesuffix(SUFFIX)} was not asked the questions of {condition.task}")
    return on_task(condition, ours, theirs, whose)


def _because(outcomes: list[Outcome]) -> str:
    """What it beats, and then what speaks against it."""
    holds = [each.why for each in outcomes if each.passed and not each.what.startswith("limit")]
    fails = [each.why for each in outcomes if not each.passed]
    told = ", but ".join(" and ".join(each) for each in (holds, fails) if each)
    covers = "; the interval is of one seed: it covers the text, not the training" if _is_sure(outcomes) else ""
    return told + covers or "the gate sets no condition for it"


def _is_sure(outcomes: list[Outcome]) -> bool:
    return any(each.low is not None for each in outcomes)
