"""Compose presets and values into params.yaml, validate it, show what changed and the size of the models."""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gptcore.addresses import redacted
from gptcore.config.overrides import repeated
from gptcore.config.params import read_params
from gptcore.config.presets import compose, differences, flatten, groups, write
from gptcore.errors import UserError
from gptcore.model.sizes import model_sizes

USAGE = """\
gptcore configure                               show params.yaml and check every field
gptcore configure train.steps=200               change one value of params.yaml
gptcore configure model=baby train.steps=2000   compose everything anew from presets, then change one value

Values follow Hydra's override grammar, as `dvc exp run -S` does."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("overrides", nargs="*")
    parser.format_help = lambda: _help(Path("conf"))  # type: ignore[method-assign]


def run(arguments: argparse.Namespace) -> None:
    _configure(arguments.overrides, Path("params.yaml"))


def _help(presets: Path) -> str:
    """The help text, built on demand because users can add presets."""
    try:
        choices = [(group, choice, why) for group, known in groups(presets).items() for choice, why in known.items()]
    except UserError:
        return f"{USAGE}\n"
    return "\n".join(
        [USAGE, "", "Presets:", *_columns((f"  {group}={choice}", why) for group, choice, why in choices), ""]
    )


def _configure(overrides: list[str], params: Path) -> None:
    new = compose(overrides, params)
    for line in repeated(overrides):
        print(line)
    if not overrides and params.exists():
        print(*_columns((field, _shown(value)) for field, value in flatten(new).items()), sep="\n")
        print(*model_sizes(new), *_unknown(new), f"{params} is valid", sep="\n")
        return
    changes = differences(_present(params), new)
    if changes:
        write(new, params)
    for line in _columns((field, f"{_shown(old)} -> {_shown(value)}") for field, old, value in changes):
        print(line)
    print(*model_sizes(new), *_unknown(new), sep="\n")
    print(f"{params}: {len(changes)} changed" if changes else f"{params}: nothing to change")


def _unknown(values: dict[str, Any]) -> list[str]:
    """A line if a training is to go on from a model of whose text nothing is known."""
    start = values["train"]["start"]
    if not start or values["retained"]["data"] is not None:
        return []
    said = f"nothing is known of the text of {redacted(start)}, so what is forgotten of it is not measured"
    asked = any(each["against"] == "retained" for each in values["gate"]["conditions"])
    remedy = "; the gate asks for it: fill in `retained`, or take gate=default" if asked else ""
    return [f"retained        {said}{remedy}; docs/finetune.md"]


def _columns(rows: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(rows)
    width = max((len(first) for first, _ in rows), default=0)
    return [f"{first:<{width}}  {second}" for first, second in rows]


def _present(params: Path) -> dict[str, Any]:
    """The current values of params.yaml; empty when it cannot be read, as it is about to be recomposed."""
    try:
        return read_params(params)
    except UserError:
        return {}


def _shown(value: Any) -> str:
    return "(none)" if value is ... else redacted(json.dumps(value, ensure_ascii=False))
