"""What the start of a training decides in params.yaml: its lasting name and hash, the model, the text to retain."""

from collections.abc import Collection, Mapping
from typing import Any

from gptcore.errors import UserError
from gptcore.model.config import OF_TRAINING
from gptcore.weights.pinned import pinned_start


def fields(source: str, model: Mapping[str, Any], asked: Collection[str], presets: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted fields and values. `model` is the section so far, in which the user asked for the values `asked`.

    Raises UserError for one of these that the start does not have.
    """
    start = pinned_start(source, presets)
    theirs = {name: value for name, value in start.model.model_dump().items() if name not in OF_TRAINING}
    for name, value in theirs.items():
        if name in asked and model[name] != value:
            raise UserError(
                f"model.{name} {model[name]} contradicts the start {source}, which has {value}; leave it out"
            )
    text = start.text
    return {
        "train.start": start.name,
        "train.start_sha256": start.sha256,
        **{f"model.{name}": value for name, value in theirs.items()},
        "retained.text_sha256": text.text_sha256 if text else "",
        "retained.data": text.data if text else None,
        "retained.tokenize": text.tokenize if text else None,
    }
