"""The report's words."""

from typing import Any

import pytest

from flows.equal_size import Reached
from flows.report import _tables, counted, fairness, forgotten, how_sure, verdict, whole_words


@pytest.mark.parametrize(
    ("sample", "shown"),
    [
        ("Alas, my lord is de", "Alas, my lord is …"),
        ("Alas, my lord is dead.", "Alas, my lord is dead."),
        ("ROMEO:\nO, what?\n\nJU", "ROMEO:\nO, what? …"),
        ("one word ", "one word …"),
        ("oneword", "oneword …"),
        ("Alas!\n", "Alas!\n"),
    ],
)
def test_a_sample_ends_with_a_word(sample: str, shown: str) -> None:
    assert whole_words(sample) == shown


METRICS = {"difference": {"loss_standard_error": 0.0048}, "validation": {"documents": 1234}}


def test_what_losses_are_means_over_is_said() -> None:
    assert counted({"validation": {"tokens": 5, "prompt_tokens": 0}}) == "validation token"
    said = counted({"validation": {"tokens": 5000, "prompt_tokens": 7000}})
    assert said == "token of the validation responses (5,000; of the prompts 7,000 do not count)"


def difference(low: float, high: float) -> dict[str, dict[str, float]]:
    interval = {"standard_error": 0.0123, "low": low, "high": high}
    return {"loss": interval, "bits_per_byte": interval}


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.31, -0.29, "The model is better than the baseline by 0.2900 to 0.3100 bits per byte (95 %)."),
        (0.01, 0.02, "The model is worse than the baseline by 0.0100 to 0.0200 bits per byte (95 %)."),
        (-0.01, 0.02, "No difference from the baseline is shown: it is -0.0100 to +0.0200 bits per byte (95 %)."),
        (0.0, 0.0, "No difference from the baseline is shown: it is +0.0000 to +0.0000 bits per byte (95 %)."),
        (float("nan"), float("nan"), "The losses are not finite, so there is no verdict."),
    ],
)
def test_the_interval_decides(low: float, high: float, said: str) -> None:
    assert verdict(difference(low, high)) == said


def test_it_says_what_is_resampled_and_both_errors() -> None:
    by_documents: dict[str, Any] = {"windows_per_block": None, "difference": difference(-1, 1)}
    said = how_sure(METRICS, by_documents)
    assert "the 1,234 validation documents" in said and "0.0123" in said and "0.0048" in said
    assert "blocks of 8 consecutive windows" in how_sure(METRICS, {**by_documents, "windows_per_block": 8})
    assert "single window" in verdict(None)
    assert how_sure(METRICS, {"windows_per_block": None, "difference": None}) == ""


def test_it_never_compares_unequal_sizes_without_a_word() -> None:
    metrics: dict[str, Any] = {"model": {"parameters": 2_883_596}, "baseline": {"parameters": 1_057_920}}
    metrics |= {"baseline_loss_reached": {"steps": None}}
    metrics["at_equal_time"] = {"seconds": 75.2, "model": 3.7, "baseline": 4.3}
    said = fairness(metrics, "train")
    assert "after 75.2 s of training each, the model's validation loss is 3.7000 and the baseline's 4.3000" in said
    assert "At equal parameters they were not compared: the model has 2,883,596 and the baseline 1,057,920" in said
    metrics["baseline"] = {"parameters": 2_883_552}
    metrics["at_equal_time"] = {"seconds": 0.1, "model": 3.7, "baseline": None}
    said = fairness(metrics, "train")
    assert said.endswith("At equal time the two cannot be compared. Both have about as many parameters.")
    assert fairness(metrics, "models:/gpt/3").startswith("The baseline is models:/gpt/3, which was not trained here")


def test_it_says_what_was_forgotten_or_that_nobody_knows() -> None:
    assert forgotten("", None, None) == ""
    assert "Nothing is known of the text of its start, gpt2" in forgotten("gpt2", None, None)
    said = forgotten("models:/gpt/3", {"model": {}}, {"difference": difference(0.01, 0.02)})
    assert said.endswith("models:/gpt/3: The model is worse than the start by 0.0100 to 0.0200 bits per byte (95 %).")
    assert fairness({}, "start", "gpt2") == "The baseline is gpt2 itself, which the training went on from."


def test_tables_on_equal_terms_of_the_starts_text_and_of_tasks_follow() -> None:
    score = {"loss": 3.0, "perplexity": 20.1, "bits_per_byte": 1.5}
    metrics: dict[str, Any] = {"model": score, "baseline": score, "difference": {}, "validation": {}}
    metrics["at_equal_time"] = {"seconds": 75.2, "model": 3.7, "baseline": 4.3}
    metrics["retained"] = {"model": score, "start": {**score, "loss": 2.5}, "difference": {}}
    metrics["tasks"] = {"quiz": {"acc": {"model": 0.5, "baseline": None, "ungraded": 3},
                                 "perplexity": {"model": 2e7, "baseline": 3.0, "ungraded": 0}}}  # fmt: skip
    tasks = {"quiz": {"acc": {"low": -0.1, "high": None}, "perplexity": None}}
    bounds = {"difference": None}
    equal = Reached(2_883_552, 4.0973, 2.2286, "")
    first, alike, old, asked = _tables(metrics, {**bounds, "retained": bounds, "tasks": tasks}, equal)
    assert (first.on, first.other) == ("every validation token", "baseline")
    assert (alike.on, alike.other) == ("equal terms", "nanoGPT")
    assert alike.rows == [
        ["loss after 75.2 s each", "3.7000", "4.3000", "-0.6000", ""],
        ["loss, 2,883,552 parameters", "3.0000", "4.0973", "-1.0973", ""],
        ["bits per byte, likewise", "1.5000", "2.2286", "-0.7286", ""],
    ]
    assert (old.on, old.other, old.rows[0]) == (
        "the start's text",
        "start",
        ["loss", "3.0000", "2.5000", "+0.5000", ""],
    )
    assert asked.rows == [
        ["quiz acc (3 not asked)", "0.5000", "?", "", "-0.1000 to ?"],
        ["quiz perplexity", "2.00e+07", "3.0000", "+2.00e+07", ""],
    ]
