"""The fields of train-gpt's form that stand for an override: choices of presets, and the values changed most often."""

from collections.abc import Mapping
from typing import Literal

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


def with_fields(overrides: list[str], fields: Mapping[str, str | int | None]) -> list[str]:
    """The overrides with one for each field that is set. Raises UserError if the two contradict each other."""
    given = {text.partition("=")[0]: text for text in overrides}
    chosen = {name: override(name, value) for name, value in fields.items() if value not in (None, "params.yaml")}
    for name, text in chosen.items():
        if given.get(name, text) != text:
            raise UserError(f"{name} is set twice, `{text}` by its field and `{given[name]}` by an override; keep one")
    return [*(text for name, text in chosen.items() if name not in given), *overrides]
