"""The fields of train-gpt's form that stand for an override: choices of presets, and the values changed most often."""

from collections.abc import Mapping
from typing import Any, Literal

from gptcore.config.overrides import override
from gptcore.errors import UserError

# The files of conf/, after the choice of none. Prefect's form lists them, and its server refuses others before a run
# begins. Were none of them None, the form would hide the list behind a switch of types
ModelPreset = Literal["params.yaml", "baby", "gpt2-124m", "gpt2-1558m", "gpt2-350m", "gpt2-774m", "nano"]
DataPreset = Literal[
    "params.yaml", "chatterbot", "fineweb_edu", "gutenberg", "openwebtext", "own", "pairs", "shakespeare", "synth",
    "synth_chat", "tinyshakespeare", "wikitext_103",
]  # fmt: skip
OptimPreset = Literal[
    "params.yaml", "adamw", "adamw_finetune", "adamw_gpt2", "adamw_wsd", "muon", "muon_cosine", "muon_finetune",
    "muon_gpt2",
]  # fmt: skip
# argument -> override
FIELDS = {"model": "model", "data": "data", "optim": "optim", "steps": "train.steps", "seed": "train.seed"}


def with_fields(overrides: list[str], given: Mapping[str, Any]) -> list[str]:
    """The overrides with one for each of FIELDS that is set in the arguments `given` to train-gpt.

    Raises UserError if the two contradict each other.
    """
    there = {text.partition("=")[0]: text for text in overrides}
    fields = {name: given.get(field) for field, name in FIELDS.items()}
    chosen = {name: override(name, value) for name, value in fields.items() if value not in (None, "params.yaml")}
    for name, text in chosen.items():
        if there.get(name, text) != text:
            raise UserError(f"{name} is set twice, `{text}` by its field and `{there[name]}` by an override; keep one")
    return [*(text for name, text in chosen.items() if name not in there), *overrides]
