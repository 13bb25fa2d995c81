"""What nanoGPT reaches with the model's number of parameters: measured by a run here, or else by a benchmark."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from gptcore.stages.baseline import TRAIN
from tasks.dvc.experiments import Experiment

TOKENS = "data/tokens"
EQUAL = "`gptcore configure baseline=nanogpt_equal`"
ALIKE = 0.05  # numbers of parameters that differ by less are about equal


class Conditions(NamedTuple):
    """Losses compare where these are equal. The hashes are those of meta.json in data/tokens, on every machine."""

    tokenizer_sha256: str
    train_text_sha256: str
    val_text_sha256: str
    block_size: int  # of the evaluation, as the stride
    stride: int
    tokens: int  # of training


@dataclass(frozen=True)
class Reached:
    """What nanoGPT reaches in about the model's size, and the sentence that says so and who has measured it."""

    parameters: int
    loss: float
    bits_per_byte: float
    said: str


@dataclass(frozen=True)
class Recorded:
    """nanoGPT's own code, in a file of results of this repository: means over seeds, and half their 95 % intervals."""

    conditions: Conditions
    parameters: int
    learning_rate: float  # the best of so many `rates`
    rates: int
    precision: str
    seeds: int
    loss: float
    loss_error: float
    bits_per_byte: float
    bits_per_byte_error: float
    source: str


# So a first run of the defaults need not train a baseline of the model's size, which takes minutes. The benchmark
# leaves out the last of 3,097 windows, which moves a loss by less than 0.001.
RECORDED = [
    Recorded(
        Conditions(
            "317d3268c7e369e95739fe01bbe7ed35000f5ac6234b5faf4c7637e2de20cc2d",
            "dd6b147e60375ccdf637433333737cee472fad1406b5c252bc7433aac2e894eb",
            "f9e476324af98ec596c546722acd830018f939c7c4abe1be58fb6ecffc7fdbfe",
            block_size=64, stride=64, tokens=1_536_000,
        ),
        parameters=2_883_552, learning_rate=0.002, rates=4, precision="float32", seeds=3,
        loss=4.0973, loss_error=0.0348, bits_per_byte=2.2286, bits_per_byte_error=0.0189,
        source="benchmarks/results/headline-2026-11-26.json",
    ),
]  # fmt: skip


def has_as_many(parameters: int, metrics: Mapping[str, Any]) -> bool:
    """Whether that is about the model's number of parameters."""
    return abs(parameters / int(metrics["model"]["parameters"]) - 1) <= ALIKE


def by_a_run(
    known: Iterable[Experiment], metrics: Mapping[str, Any], params: Mapping[str, Any], outputs: Mapping[str, str]
) -> Reached | None:
    """Of the runs that trained nanoGPT's recipe in the model's size, on the same tokens for as many, the best."""
    asked = {f"evaluate.{name}": params["evaluate"][name] for name in ("block_size", "stride")}
    alike = [
        each
        for each in known
        if each.params.get("baseline.source") == TRAIN
        and each.outputs.get(TOKENS) == outputs[TOKENS]
        and each.metrics.get("baseline.tokens") == _tokens(metrics)
        and has_as_many(each.metrics["baseline.parameters"], metrics)
        and asked.items() <= each.params.items()
    ]
    if not alike:
        return None
    best = min(alike, key=lambda each: float(each.metrics["baseline.loss"]))
    parameters, loss, bits = (best.metrics[f"baseline.{name}"] for name in ("parameters", "loss", "bits_per_byte"))
    figures = f"a loss of {loss:.4f} and {bits:.4f} bits per byte"
    said = f"{_to(parameters, metrics)}, nanoGPT's recipe reaches {figures} (the run {best.name})."
    return Reached(parameters, loss, bits, said)


def by_a_benchmark(meta: Mapping[str, Any], metrics: Mapping[str, Any], params: Mapping[str, Any]) -> Reached | None:
    """The record for the tokens of `meta`, this evaluation and the model's size."""
    conditions = Conditions(
        meta["tokenizer_sha256"], meta["train"]["text_sha256"], meta["val"]["text_sha256"],
        params["evaluate"]["block_size"], params["evaluate"]["stride"], _tokens(metrics),
    )  # fmt: skip
    for each in RECORDED:
        if each.conditions == conditions and has_as_many(each.parameters, metrics):
            said = (
                f"{_to(each.parameters, metrics)}, nanoGPT's own code reaches a loss of {each.loss:.4f} ± "
                f"{each.loss_error:.4f} and {each.bits_per_byte:.4f} ± {each.bits_per_byte_error:.4f} bits per byte "
                f"(95 % over {each.seeds} seeds; in {each.precision}, at {each.learning_rate:g}, the best of "
                f"{each.rates} learning rates). That is from {each.source}; {EQUAL} trains nanoGPT's recipe in that "
                "size here."
            )
            return Reached(each.parameters, each.loss, each.bits_per_byte, said)
    return None


def _to(parameters: int, metrics: Mapping[str, Any]) -> str:
    return f"At equal parameters, {parameters:,} to the model's {metrics['model']['parameters']:,}"


def _tokens(metrics: Mapping[str, Any]) -> int:
    """What nanoGPT must have been trained on: as much as the baseline, or as the model if that came from elsewhere."""
    tokens: int = metrics["baseline"]["tokens"] or metrics["model"]["tokens"]
    return tokens
