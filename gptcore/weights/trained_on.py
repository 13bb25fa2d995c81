"""The corpus that a version was trained on, from the parameters that MLflow keeps with it, which are all strings."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SECTIONS = ("data", "tokenize")


@dataclass(frozen=True)
class TrainedOn:
    """The hash of its validation texts, and the sections `data` and `tokenize` of its params.yaml."""

    text_sha256: str
    data: dict[str, Any]
    tokenize: dict[str, Any]


def trained_on(kept: Mapping[str, str], text_sha256: str, presets: Mapping[str, Any]) -> TrainedOn | None:
    """None for a version that was registered without its parameters. `presets` has both sections, as of today."""
    if not text_sha256 or not all(any(name.startswith(f"{each}.") for name in kept) for each in SECTIONS):
        return None
    data, tokenize = (_typed(kept, each, presets[each]) for each in SECTIONS)
    return TrainedOn(text_sha256, data, tokenize)


def _typed(kept: Mapping[str, str], name: str, like: Any) -> Any:
    """The value `name` of `kept` with the type of `like`, which stands for a value that was not kept."""
    if isinstance(like, dict):
        return {field: _typed(kept, f"{name}.{field}", value) for field, value in like.items()}
    if name not in kept:
        return like
    text = kept[name]
    try:
        read = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return text if isinstance(like, str) and not isinstance(read, list) else read
