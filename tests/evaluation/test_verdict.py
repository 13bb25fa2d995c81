"""The gate promotes what is surely better, seldom what is not, and its verdict comes out again from its record."""

import json
import math
from typing import Any

import numpy as np
import pytest

from gptcore.config.params import validate_section
from gptcore.errors import UserError
from gptcore.evaluation.asked import Asked, Graded
from gptcore.evaluation.config import TaskChoice
from gptcore.evaluation.gate import GateConfig
from gptcore.evaluation.intervals import intervals
from gptcore.evaluation.measured import Measured, Scored, measured, paired
from gptcore.evaluation.tally import Sums, Tally
from gptcore.evaluation.verdict import Inputs, judge, read_record, replay
from tests.evaluation.test_intervals import WINDOW, documents, stream, text, units

ANY = {"bytes": None, "parameters": None, "skipped_batches": None, "latency": None}
BETTER = {"metric": "bits_per_byte", "margin": 0.0, "confidence": 0.95}
BASELINE, CHAMPION = {**BETTER, "against": "baseline"}, {**BETTER, "against": "champion"}
BYTES = [100.0, 300.0, 200.0, 400.0]


def gate(*conditions: dict[str, Any], **limits: int) -> GateConfig:
    values = {"conditions": list(conditions), "limits": {**ANY, **limits}}
    return validate_section({"gate": values}, "gate", GateConfig)


def scored(bits: float, spread: float = 0.0, tokens: float = 50.0) -> Scored:
    """`bits` per byte, a little more or less in each document."""
    each = [(bits + sign * spread) * n * math.log(2) for sign, n in zip((1, -1, 1, -1), BYTES, strict=True)]
    return Scored(losses=each, tokens=[tokens] * 4, whole_losses=sum(each), whole_tokens=4 * tokens)


def on_text(model: Scored, baseline: Scored | None = None, **changes: Any) -> Measured:
    values: dict[str, Any] = {"text_sha256": "a", "by": "documents", "windows_per_part": 1, "freedom": 2.5,
                              "bytes": BYTES, "whole_bytes": 1000.0}  # fmt: skip
    return Measured(**(values | {"model": model, "baseline": baseline} | changes))


def against(own: Measured, champion: Measured | None) -> Inputs:
    return Inputs(version=8, own=own, champion_version=7 if champion else None, champion=champion)


@pytest.mark.parametrize(
    ("ours", "passes", "because"),
    [
        (
            scored(2.04),
            True,
            "on its start's text its 2.0400 bits per byte exceed the start's 2.0000: the diff",
        ),
        (scored(1.9), True, "beat the start's 2.0000: the difference is -0.1000 to -0.1000 (95 %), below +0.0500"),
        (scored(2.06), False, "the difference is +0.0600 to +0.0600 (95 %); it must be below +0.0500"),
        (scored(2.04, spread=0.1), False, "it must be below +0.0500"),  # less, but not surely
        (None, False, "nobody knows what it has forgotten"),
    ],
)
def test_what_may_be_forgotten(ours: Scored | None, passes: bool, because: str) -> None:
    """Of the preset `finetune`: the version and its start on the start's text, however good it is on its own."""
    own, old = on_text(scored(1.0), scored(2.0)), on_text(ours, scored(2.0)) if ours else None
    forgotten = {**BETTER, "against": "retained", "margin": -0.05}
    found = judge(gate(BASELINE, forgotten), against(own, None).model_copy(update={"retained": old}))
    assert (found.passed, because in found.because) == (passes, True), found.because
    assert replay(read_record(found.record())) == found


@pytest.mark.parametrize(
    ("ours", "champion", "passes", "because"),
    [
        (scored(2.0), None, True, "its 2.0000 bits per byte beat the baseline's 2.1000 by 0.1000 to 0.1000"),
        (scored(2.1), None, False, "do not beat the baseline's 2.1000: the difference is +0.0000 to +0.0000"),
        (scored(2.0), scored(2.05), True, "beat version 7's 2.0500 by 0.0500 to 0.0500 (95 %)"),
        (scored(2.0), scored(2.0), False, "baseline's 2.1000 by 0.1000 to 0.1000 (95 %), but its 2.0000"),
        (scored(2.0), scored(1.9), False, "do not beat version 7's 1.9000: the difference is +0.1000"),
        (scored(2.0), scored(2.01, spread=0.1), False, "do not beat version 7's"),  # lower, but not surely
        (scored(2.0), scored(2.05, tokens=70), True, "beat version 7's"),  # another tokenizer
        (scored(math.nan), None, False, "are no finite number"),
    ],
)
def test_default_gate(ours: Scored, champion: Scored | None, passes: bool, because: str) -> None:
    inputs = against(on_text(ours, scored(2.1)), on_text(champion) if champion else None)
    verdict = judge(gate(BASELINE, CHAMPION), inputs)
    assert verdict.passed is passes
    assert because in verdict.because


@pytest.mark.parametrize(
    ("condition", "passes", "because"),
    [
        ({**CHAMPION, "margin": 0.04}, True, "by 0.0500"),
        ({**CHAMPION, "margin": 0.06}, False, "is -0.0500 to -0.0500 (95 %); it must be below -0.0600"),
        ({**CHAMPION, "confidence": 0.0, "margin": 0.06}, False, "the difference is -0.0500; it must be below -0.0600"),
        ({**CHAMPION, "confidence": 0.99}, True, "(99 %)"),
        ({**BETTER, "against": "absolute", "margin": 2.01}, True, "beat the gate's 2.0100 by 0.0100"),
        ({**BETTER, "against": "absolute", "margin": 1.99}, False, "do not beat the gate's 1.9900"),
        ({**CHAMPION, "metric": "loss"}, False, "cannot be compared with version 7's: their tokens are not the same"),
        ({**BASELINE, "metric": "perplexity"}, True, "perplexity beat"),
    ],
)
def test_conditions(condition: dict[str, Any], passes: bool, because: str) -> None:
    own, champion = on_text(scored(2.0), scored(2.1)), on_text(scored(2.05, tokens=60))
    verdict = judge(gate(condition), against(own, champion))
    assert (verdict.passed, because in verdict.because) == (passes, True), verdict.because


def test_limits() -> None:
    own = on_text(scored(2.0), scored(2.1), facts={"parameters": 1200, "bytes": 10})
    assert judge(gate(BASELINE, parameters=1200), against(own, None)).passed
    said = judge(gate(BASELINE, parameters=1199, skipped_batches=3), against(own, None)).because
    assert ", but it has 1,200 parameters, more than gate.limits.parameters 1,199 and nobody has counted" in said
    slow = on_text(scored(2.0), scored(2.1), facts={"latency": 480})
    assert judge(gate(BASELINE, latency=480), against(slow, None)).passed
    said = "it takes 480 microseconds per generated token, more than gate.limits.latency 479"
    assert said in judge(gate(BASELINE, latency=479), against(slow, None)).because


def test_a_text_of_one_window_is_too_short() -> None:
    one: dict[str, Any] = {"by": "windows", "bytes": [1000.0]}
    short = [Scored(losses=[loss], tokens=[9], whole_losses=loss, whole_tokens=9) for loss in (3.0, 4.0)]
    verdict = judge(gate(BASELINE), against(on_text(*short, **one), None))
    assert not verdict.passed and "a single window, too short for an interval" in verdict.because
    assert judge(gate({**BASELINE, "confidence": 0.0}), against(on_text(*short, **one), None)).passed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metric": "bits_per_bite"}, "gate.conditions.0.metric: there is no such metric; did you mean bits_per_byte?"),
        ({"metric": "lambada.acc_nrom"}, "there is no such metric of lambada; did you mean acc_norm?"),
        ({"metric": "lambada.acc", "against": "retained"}, "a task is the same for a model and its start"),
        ({"against": "nobody"}, "gate.conditions.0.against: input should be 'baseline', 'champion', 'retained' or"),
        ({"confidence": 1.0}, "gate.conditions.0.confidence: input should be less than 1, got 1.0"),
        ({"metrik": 1}, "gate.conditions.0.metrik is unknown; known are metric, against, margin, confidence"),
    ],
)
def test_wrong_condition_is_one_line(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as raised:
        gate({**BASELINE, **change})
    assert said in str(raised.value)


def test_the_record_alone_gives_the_verdict_again() -> None:
    """And another one if somebody changes what it says."""
    own = on_text(scored(2.0, spread=0.01), scored(2.1), facts={"parameters": 12})
    verdict = judge(gate(BASELINE, CHAMPION, parameters=20), against(own, on_text(scored(2.05))))
    assert replay(read_record(verdict.record())) == verdict
    values = json.loads(verdict.record())
    values["inputs"]["champion"]["model"]["whole_losses"] *= 0.9
    assert replay(read_record(json.dumps(values))) is None
    old = json.loads(verdict.record())
    del old["gate"]["limits"]["latency"], old["inputs"]["tasks"], old["inputs"]["champion_tasks"]
    assert replay(read_record(json.dumps(old))) == verdict  # of before they were there
    with pytest.raises(UserError, match="cannot be read"):
        read_record("{}")


def asked(model: list[float | None], baseline: list[float | None] | None = None, name: str = "acc") -> Asked:
    graded = Graded(weights=[1] * len(model), model=model, baseline=baseline)
    return Asked(task="quiz", sha256="0" * 64, metrics={name: graded})


def rights(n: int, of: int = 100, ungraded: int = 0) -> list[float | None]:
    return [1.0] * n + [0.0] * (of - n - ungraded) + [None] * ungraded


QUIZ = {"metric": "quiz.acc", "margin": 0.0, "confidence": 0.95}


@pytest.mark.parametrize(
    ("condition", "own", "champion", "passes", "because"),
    [
        ({"against": "baseline"}, asked(rights(70), rights(50)), None, True,
         "its 0.7000 acc of quiz beat the baseline's 0.5000 by 0.1167 to 0.2755 (95 %)"),
        ({"against": "baseline"}, asked(rights(53), rights(50)), None, False,
         "do not beat the baseline's 0.5000: the difference is -0.0086 to +0.0674"),
        ({"against": "baseline"}, asked(rights(53, ungraded=15), rights(50)), None, False,
         "0.5000 (15 of 100 items could not be asked): the difference is -0.0086 to +0.2529"),
        ({"against": "baseline", "margin": -0.1}, asked(rights(48), rights(50)), None, True,
         "are below the baseline's 0.5000: the difference is -0.0527 to +0.0135 (95 %), above -0.1000"),
        ({"against": "champion"}, asked(rights(70)), asked(rights(50)), True, "beat version 7's 0.5000 by"),
        ({"against": "champion"}, asked(rights(70)), None, False, "version 7 was not asked the questions of quiz"),
        ({"against": "absolute", "margin": 0.5}, asked(rights(70)), None, True, "beat the gate's 0.5000 by 0.1"),
        ({"against": "absolute", "margin": 0.65}, asked(rights(70)), None, False, "do not beat the gate's 0.6500"),
        ({"against": "absolute", "margin": 0.65, "confidence": 0.0}, asked(rights(70)), None, True,
         "the difference is +0.0500"),
        ({"against": "absolute", "margin": 0.65, "confidence": 0.0}, asked(rights(60, ungraded=10)), None, False,
         "its 0.6667 acc of quiz do not beat the gate's 0.6500 (10 of 100 items could not be asked)"),
        ({"against": "baseline"}, asked(rights(70)), None, False, "the baseline was not asked the questions of quiz"),
        ({"against": "baseline", "metric": "quiz.acc_norm"}, asked(rights(70)), None, False, "not asked for quiz.acc"),
        ({"against": "baseline", "metric": "quiz.perplexity"},
         asked([-1.0, -1.2, -0.9] * 9, [-1.1, -1.4, -1.2] * 9, "perplexity"), None, True, "perplexity of quiz beat"),
        ({"against": "baseline", "metric": "quiz.perplexity"},
         asked([-1.0, -1.2, None] * 9, [-1.1, -1.4, -1.2] * 9, "perplexity"), None, False, "to +inf (95 %)"),
    ],
)  # fmt: skip
def test_answers_to_a_task(
    condition: dict[str, Any], own: Asked, champion: Asked | None, passes: bool, because: str
) -> None:
    """Items that could not be asked widen the interval. The record alone gives the verdict again."""
    tasks = {"tasks": {"quiz": own}, "champion_tasks": {"quiz": champion} if champion else {}, "champion_version": 7}
    inputs = against(on_text(scored(2.0), scored(2.1)), None).model_copy(update=tasks)
    found = judge(gate({**QUIZ, **condition}), inputs)
    assert (found.passed, because in found.because) == (passes, True), found.because
    assert replay(read_record(found.record())) == found


def test_a_condition_is_on_a_task_that_is_asked() -> None:
    task = TaskChoice(task="quiz", source="quiz.jsonl", output_type="loglikelihood", limit=0, sha256="0" * 64)
    gate({**QUIZ, "against": "baseline"}).require([task])
    wrong = gate({**QUIZ, "against": "baseline", "metric": "quiz.acc_norm"})
    with pytest.raises(
        UserError, match=r"^params.yaml: gate.conditions.0.metric: no task .*; did you mean quiz.acc[?]"
    ):
        wrong.require([task])
    with pytest.raises(UserError, match=r"has quiz.acc_norm; evaluate.tasks is empty$"):
        wrong.require([])


def test_null_pairs_are_seldom_promoted_and_covered() -> None:
    """200 texts on which two models are equally good: a 95 % interval lies below zero in 2.5 % of them, no more."""
    random, pairs, n = np.random.default_rng(1), 200, 30
    promoted = covered = 0
    for _ in range(pairs):
        n_bytes = random.lognormal(7, 0.8, n)
        losses = n_bytes * (1.4 + random.normal(0, 0.2, n) + random.normal(0, 0.05, (2, n)))
        values: dict[str, Any] = {"bytes": n_bytes.tolist(), "whole_bytes": float(n_bytes.sum())}
        values["freedom"] = float(n_bytes.sum() ** 2 / (n_bytes**2).sum()) - 1
        tokens = {"tokens": n_bytes.tolist(), "whole_tokens": n_bytes.sum()}
        scores = [Scored(losses=each.tolist(), whole_losses=each.sum(), **tokens) for each in losses]
        one, other = (on_text(each, **values) for each in scores)
        verdict = judge(gate(CHAMPION), against(one, other))
        (outcome,) = verdict.outcomes
        assert outcome.low is not None and outcome.high is not None
        promoted += verdict.passed
        covered += outcome.low < 0 < outcome.high
    print(f"promoted {promoted} of {pairs} null pairs; {covered} intervals cover zero")
    assert promoted / pairs < 0.025 + 3.3 * math.sqrt(0.025 * 0.975 / pairs)
    assert abs(covered / pairs - 0.95) < 3.3 * math.sqrt(0.95 * 0.05 / pairs)


@pytest.mark.parametrize(("n", "each"), [(60, 3), (1500, 2)])
def test_what_is_kept_gives_the_interval_of_the_report(n: int, each: int) -> None:
    model, baseline, n_bytes = documents(np.random.default_rng(2), n, each)
    kept = Measured.model_validate_json(measured("a", n_bytes, model, baseline).model_dump_json())
    assert len(kept.bytes) <= 512
    other = kept.of_baseline()
    reported = units(model, baseline, n_bytes)
    assert other and reported
    ours, theirs = intervals(paired(kept, other))[2], intervals(reported)[2]
    assert (ours.bits_per_byte.low, ours.bits_per_byte.high) == pytest.approx(
        (theirs.bits_per_byte.low, theirs.bits_per_byte.high), rel=1e-9
    )


def test_windows_of_another_length_pair() -> None:
    """One long document: the same losses in windows of 64 tokens and of 96."""
    losses = np.repeat(stream(np.random.default_rng(3), 960, 0.4), WINDOW)
    n_bytes = np.array([3 * len(losses)])
    kept = [measured("a", n_bytes, windows(losses, length), None) for length in (WINDOW, 96)]
    found = paired(*kept)
    assert found.windows_per_block == 9
    assert len(found.sums) == 640
    model, other, difference = intervals(found)
    assert model.loss.standard_error == pytest.approx(other.loss.standard_error, rel=0.02)
    assert abs(difference.loss.low) < 1e-3 * model.loss.standard_error + 1e-4


def test_many_windows_are_kept_in_parts() -> None:
    model = text(stream(np.random.default_rng(4), 20_000, 0.4), np.zeros(20_000, np.int64))
    n_bytes = np.array([20_000 * 192])
    kept, reported = measured("a", n_bytes, model, None), units(model, model, n_bytes)
    assert reported and len(kept.bytes) == 2000 and kept.windows_per_part == 10
    ours, theirs = (intervals(each)[0].bits_per_byte for each in (paired(kept, kept), reported))
    assert ours.high - ours.low == pytest.approx(theirs.high - theirs.low, rel=0.08)


def windows(losses: np.ndarray, length: int) -> Tally:
    sums = Sums(losses.reshape(-1, length).sum(1), np.full(len(losses) // length, length))
    return Tally(sums, Sums(losses.sum(keepdims=True), np.array([len(losses)])), sums)
