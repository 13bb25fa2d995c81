"""The sizes of the models of params.yaml in a line each, from formulas: no torch, no tensors."""

import math
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from gptcore.config.params import validate_section
from gptcore.errors import UserError
from gptcore.model.config import ModelConfig
from gptcore.model.counts import Counts, counts
from gptcore.model.lora_config import LoraConfig

# Ids of each vocabulary that does not depend on the corpus, <|endoftext|> included
PUBLISHED_VOCABULARIES = {"byte": 257, "gpt2": 50_257, "cl100k_base": 100_257, "o200k_base": 199_999}


def model_sizes(values: dict[str, Any]) -> list[str]:
    """A line for the model and one for its baseline. `values` are those of a valid params.yaml."""
    vocab_size = vocabulary(values["tokenize"])
    models = {"model": values, "baseline.model": {"baseline.model": values["baseline"]["model"]}}
    if values["baseline"]["source"] != "train":
        del models["baseline.model"]
    lora = validate_section(values, "lora", LoraConfig).if_any()
    ranks = {"model": lora.ranks if lora else None}  # the baseline is no adapter
    return [
        f"{name:<14}  {_size(validate_section(section, name, ModelConfig), vocab_size, ranks.get(name))}"
        for name, section in models.items()
    ]


def equal_width(params: Mapping[str, Any]) -> int:
    """The n_embd that gives baseline.model about as many parameters as the model has. Raises UserError."""
    if (vocab_size := vocabulary(params["tokenize"])) is None:
        raise UserError(
            f"baseline=nanogpt_equal needs the number of ids, which with tokenizer {params['tokenize']['tokenizer']} "
            "only the corpus tells; take baseline=nanogpt and set baseline.model.n_embd"
        )
    goal = counts(validate_section({"model": dict(params["model"])}, "model", ModelConfig), vocab_size).parameters
    fixed = {name: params["baseline"]["model"][name] for name in ModelConfig.model_fields if name != "n_embd"}

    def parameters(width: int) -> int:
        model = {"baseline.model": {**fixed, "n_embd": width}}
        return counts(validate_section(model, "baseline.model", ModelConfig), vocab_size).parameters

    widths = range(step := math.lcm(8, fixed["n_head"]), (1 << 16) + 1, step)
    above = bisect_left(widths, goal, key=parameters)
    return min(widths[max(above - 1, 0) : above + 1], key=lambda width: abs(parameters(width) - goal))


def vocabulary(tokenize: dict[str, Any]) -> int | None:
    """The number of ids; None where only the corpus tells it."""
    size = tokenize["vocab_size"] if tokenize["tokenizer"] == "bpe" else None
    return size or PUBLISHED_VOCABULARIES.get(tokenize["tokenizer"])


def _size(model: ModelConfig, vocab_size: int | None, ranks: Mapping[str, int] | None) -> str:
    if vocab_size is None:
        none, one = counts(model, 0, ranks), counts(model, 1, ranks)
        return (
            f"{none.parameters:,} parameters and {one.parameters - none.parameters:,} for each id that the tokenizer "
            f"will have{_trained(none, ranks)}; {none.flops_per_token / 1e6:,.1f} MFLOPs per token and "
            f"{(one.flops_per_token - none.flops_per_token) / 1e6:.3f} for each id"
        )
    found = counts(model, vocab_size, ranks)
    return (
        f"{found.parameters:,} parameters: {found.embeddings:,} in embeddings and head, {found.blocks:,} in the rest"
        f"{_trained(found, ranks)}; {found.flops_per_token / 1e6:,.1f} MFLOPs per token"
    )


def _trained(found: Counts, ranks: Mapping[str, int] | None) -> str:
    return "" if ranks is None else f"; the {found.trained:,} of an adapter are trained"
