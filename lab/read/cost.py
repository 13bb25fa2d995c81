"""What a run takes: FLOPs by the formula of the report, seconds as the runs before have taken for as many."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import Any

from gptcore.errors import UserError
from gptcore.model.config import ModelConfig
from gptcore.model.counts import counts
from gptcore.model.lora_config import LoraConfig
from gptcore.model.sizes import vocabulary

LAST = 5  # runs that count


@dataclass(frozen=True)
class Estimate:
    """Of training the model. `seconds` is None while no run tells how fast this machine is."""

    parameters: int
    flops: float
    seconds: float | None
    runs: int


def estimate(values: Mapping[str, Any], before: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Estimate:
    """`values` and the parameters `before` are flat; with these come what their runs have measured, the newest last."""
    known = (_seconds_per_flop(*each) for each in reversed([*before]))
    rates = [*islice((rate for rate in known if rate is not None), LAST)]
    needed = flops(values, values["train.steps"] * values["train.batch_tokens"]) or 0.0
    size = _counts(values)
    return Estimate(size.parameters if size else 0, needed, median(rates) * needed if rates else None, len(rates))


def flops(values: Mapping[str, Any], tokens: Any) -> float | None:
    """Of training with so many tokens; None if the size of the vocabulary is not known."""
    size = _counts(values)
    return float(size.flops_per_token * tokens) if size and tokens else None


def _counts(values: Mapping[str, Any]) -> Any:
    fields: dict[str, Any] = {name: values.get(f"model.{name}") for name in ModelConfig.model_fields}
    tokenize = {name: values.get(f"tokenize.{name}") for name in ("tokenizer", "vocab_size")}
    try:
        size = vocabulary(tokenize)
        return counts(ModelConfig(**fields), size, _ranks(values)) if size else None
    except (ValueError, UserError):  # of a run before a field was there, or of a form that is not right yet
        return None


def _ranks(values: Mapping[str, Any]) -> Mapping[str, int] | None:
    """Of the adapter that is trained instead of the model, if there is one."""
    if not values.get("lora.rank"):
        return None
    fields = {name: values.get(f"lora.{name}") for name in LoraConfig.model_fields}
    return LoraConfig.model_validate_json(json.dumps(fields)).ranks


def _seconds_per_flop(params: Mapping[str, Any], metrics: Mapping[str, Any]) -> float | None:
    done = flops(params, metrics.get("model.tokens"))
    seconds = metrics.get("model.seconds")
    return float(seconds) / done if done and seconds else None
