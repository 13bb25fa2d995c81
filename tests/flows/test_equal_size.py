"""What the report says of nanoGPT in the model's size: a run of this checkout has measured it, or a benchmark."""

from typing import Any

import pytest

from flows.equal_size import RECORDED, Reached, Recorded, by_a_benchmark, by_a_run, has_as_many
from flows.report import fairness
from gptcore.config.presets import compose
from gptcore.files import read_json
from gptcore.model.config import ModelConfig
from gptcore.model.counts import counts
from tasks.dvc.experiments import Experiment
from tests.support.closure import ROOT

FIRST = RECORDED[0]


def test_another_run_says_what_equal_sizes_reach() -> None:
    """The best of those with the same tokens, as many of them, and about as many parameters as the model."""
    metrics = {"model": {"parameters": 300, "tokens": 22}, "baseline": {"parameters": 100, "tokens": 20}}
    params = {"evaluate": {"block_size": 16, "stride": 16, "tasks": []}}

    def run(name: str, loss: float, changes: dict[str, Any] | None = None, tokens: str = "1.dir") -> Experiment:
        asked = {"baseline.source": "train", "evaluate.block_size": 16, "evaluate.stride": 16} | (changes or {})
        found = {"baseline.parameters": 305, "baseline.tokens": 20, "baseline.bits_per_byte": 2.5} | (changes or {})
        return Experiment(name, asked, {}, {**found, "baseline.loss": loss}, {"data/tokens": tokens})

    others = [
        run("small", 1.0, {"baseline.parameters": 100}),
        run("long", 1.0, {"baseline.tokens": 40}),
        run("taken", 1.0, {"baseline.source": "gpt2"}),
        run("near", 1.0, {"evaluate.stride": 8}),
        run("elsewhere", 1.0, tokens="2.dir"),
    ]
    assert by_a_run(others, metrics, params, {"data/tokens": "1.dir"}) is None
    others += [run("a", 4.2), run("b", 4.1)]
    best = by_a_run(others, metrics, params, {"data/tokens": "1.dir"})
    assert best and (best.parameters, best.loss, best.bits_per_byte) == (305, 4.1, 2.5)
    assert best.said == (
        "At equal parameters, 305 to the model's 300, nanoGPT's recipe reaches a loss of 4.1000 and 2.5000 bits per "
        "byte (the run b)."
    )
    taken = {"model": {"parameters": 300, "tokens": 20}, "baseline": {"parameters": 100, "tokens": None}}
    assert by_a_run(others, taken, params, {"data/tokens": "1.dir"}) == best  # a baseline from elsewhere


def recorded(parameters: int = 2_883_596, **changes: Any) -> Reached | None:
    """What is known for a run of the defaults, with changes."""
    now = FIRST.conditions._asdict() | changes
    meta = {split: {"text_sha256": now[f"{split}_text_sha256"]} for split in ("train", "val")}
    model = {"parameters": parameters, "tokens": now["tokens"]}
    metrics = {"model": model, "baseline": {"parameters": 1_057_920, "tokens": now["tokens"]}}
    params = {"evaluate": {name: now[name] for name in ("block_size", "stride")}}
    return by_a_benchmark({**meta, "tokenizer_sha256": now["tokenizer_sha256"]}, metrics, params)


def test_a_first_run_says_what_a_benchmark_has_measured() -> None:
    found = recorded()
    assert found and found.loss == FIRST.loss
    assert found.said == (
        "At equal parameters, 2,883,552 to the model's 2,883,596, nanoGPT's own code reaches a loss of "
        f"{FIRST.loss:.4f} ± {FIRST.loss_error:.4f} and {FIRST.bits_per_byte:.4f} ± {FIRST.bits_per_byte_error:.4f} "
        "bits per byte (95 % over 3 seeds; in float32, at 0.002, the best of 4 learning rates). "
        f"That is from {FIRST.source}; `gptcore configure baseline=nanogpt_equal` trains nanoGPT's recipe in that size "
        "here."
    )
    curves = {"baseline_loss_reached": {"steps": None}, "at_equal_time": {"model": None, "baseline": None}}
    sizes = {"model": {"parameters": 2_883_596}, "baseline": {"parameters": 1_057_920}}
    assert fairness({**sizes, **curves}, "train", "", found).endswith(f"cannot be compared. {found.said}")


@pytest.mark.parametrize("condition", FIRST.conditions._fields)
def test_under_other_conditions_nothing_is_recorded(condition: str) -> None:
    assert recorded(**{condition: 32 if condition in ("block_size", "stride", "tokens") else "0" * 64}) is None


def test_of_another_size_nothing_is_recorded() -> None:
    assert recorded(parameters=2_000_000) is None


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: f"{row.parameters:,}")
def test_a_record_is_what_its_benchmark_says(row: Recorded) -> None:
    """Whoever measures again renews the row."""
    first, *lines = read_json(ROOT / row.source)["report"]
    assert first.startswith(f"{row.conditions.tokens:,} tokens each; nanoGPT's rates tried: (")
    assert first.endswith(f"; ± is 95 % over {row.seeds} seeds")
    assert first.count(", 0.") + 1 == row.rates
    shown = (
        f"best rate, rate {row.learning_rate:g} loss {row.loss:.4f} ± {row.loss_error:.4f}  bits per byte "
        f"{row.bits_per_byte:.4f} ± {row.bits_per_byte_error:.4f}  {row.parameters:>12,} parameters "
    )
    assert [line.endswith(f"nanogpt {row.precision}") for line in lines if shown in line] == [True]


def test_a_record_is_of_the_defaults() -> None:
    """Whoever changes what the defaults train or measure runs `python benchmarks/headline.py`, and renews the row."""
    params = compose([], ROOT / "params.yaml")
    size = {"parameters": counts(ModelConfig(**params["model"]), params["tokenize"]["vocab_size"]).parameters}
    assert has_as_many(FIRST.parameters, {"model": size})
    assert params["train"]["steps"] * params["train"]["batch_tokens"] == FIRST.conditions.tokens
    now = (params["evaluate"]["block_size"], params["evaluate"]["stride"])
    assert now == (FIRST.conditions.block_size, FIRST.conditions.stride)
    # from these come the three hashes
    assert params["data"]["sha256"] == "da68ca4e8201d41a12c1d5e82d967bda85105f1dabe823d5735138bccabdd387"
    assert params["tokenize"] == {
        "tokenizer": "bpe", "vocab_size": 2048, "sample_bytes": 50_000_000, "sentencepiece_model": "",
        "sentencepiece_sha256": "", "val_fraction": 0.1, "test_fraction": 0.0, "val_split": "documents", "seed": 1337,
    }  # fmt: skip
