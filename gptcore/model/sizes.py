"""The sizes of the models of params.yaml in a line each, from formulas: no torch, no tensors."""

from typing import Any

from gptcore.config.params import validate_section
from gptcore.model.config import ModelConfig
from gptcore.model.counts import counts

# Ids of each vocabulary that does not depend on the corpus, <|endoftext|> included
PUBLISHED_VOCABULARIES = {"byte": 257, "gpt2": 50_257, "cl100k_base": 100_257, "o200k_base": 199_999}


def model_sizes(values: dict[str, Any]) -> list[str]:
    """A line for the model and one for its baseline. `values` are those of a valid params.yaml."""
    vocab_size = vocabulary(values["tokenize"])
    models = {"model": values, "baseline.model": {"baseline.model": values["baseline"]["model"]}}
    return [
        f"{name:<14}  {_size(validate_section(section, name, ModelConfig), vocab_size)}"
        for name, section in models.items()
    ]


def vocabulary(tokenize: dict[str, Any]) -> int | None:
    """The number of ids; None where only the corpus tells it."""
    size = tokenize["vocab_size"] if tokenize["tokenizer"] == "bpe" else None
    return size or PUBLISHED_VOCABULARIES.get(tokenize["tokenizer"])


def _size(model: ModelConfig, vocab_size: int | None) -> str:
    if vocab_size is None:
        none, one = counts(model, 0), counts(model, 1)
        return (
            f"{none.parameters:,} parameters and {one.parameters - none.parameters:,} for each id that the tokenizer "
            f"will have; {none.flops_per_token / 1e6:,.1f} MFLOPs per token and "
            f"{(one.flops_per_token - none.flops_per_token) / 1e6:.3f} for each id"
        )
    found = counts(model, vocab_size)
    return (
        f"{found.parameters:,} parameters: {found.embeddings:,} in embeddings and head, {found.blocks:,} in the rest; "
        f"{found.flops_per_token / 1e6:,.1f} MFLOPs per token"
    )
