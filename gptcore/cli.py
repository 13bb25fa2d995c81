"""The command `gptcore`: compose presets and values into params.yaml, validate it, show what changed."""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gptcore.errors import MISTAKE_EXIT_CODE, UserError
from gptcore.params import read_params
from gptcore.presets import compose, differences, flatten, groups, write

USAGE = """\
gptcore configure                               show params.yaml and check every field
gptcore configure train.steps=200               change one value of params.yaml
gptcore configure model=baby train.steps=2000   compose everything anew from presets, then change one value

Values follow Hydra's override grammar, as `dvc exp run -S` does."""


def main() -> None:
    parser = argparse.ArgumentParser("gptcore", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("configure", help="write params.yaml", add_help=False)
    command.add_argument("overrides", nargs="*")
    command.add_argument("-h", "--help", action="store_true")
    arguments = parser.parse_args()
    params = Path("params.yaml")
    try:
        if arguments.help:
            _help(Path("conf"))
        else:
            _configure(arguments.overrides, params)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(MISTAKE_EXIT_CODE) from None


def _help(presets: Path) -> None:
    print(f"{USAGE}\n\nPresets:")
    choices = [(group, choice, why) for group, known in groups(presets).items() for choice, why in known.items()]
    _columns((f"  {group}={choice}", why) for group, choice, why in choices)


def _configure(overrides: list[str], params: Path) -> None:
    new = compose(overrides, params)
    if not overrides and params.exists():
        _columns((field, _shown(value)) for field, value in flatten(new).items())
        print(f"{params} is valid")
        return
    changes = differences(_present(params), new)
    if changes:
        write(new, params)
    _columns((field, f"{_shown(old)} -> {_shown(value)}") for field, old, value in changes)
    print(f"{params}: {len(changes)} changed" if changes else f"{params}: nothing to change")


def _columns(rows: Iterable[tuple[str, str]]) -> None:
    rows = list(rows)
    width = max((len(first) for first, _ in rows), default=0)
    for first, second in rows:
        print(f"{first:<{width}}  {second}")


def _present(params: Path) -> dict[str, Any]:
    """What params.yaml holds now; nothing when it cannot be read, for it is about to be composed anew."""
    try:
        return read_params(params)
    except UserError:
        return {}


def _shown(value: Any) -> str:
    return "(none)" if value is ... else json.dumps(value, ensure_ascii=False)
