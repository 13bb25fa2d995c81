"""The command `gptcore`: compose presets and values into params.yaml, validate it, show what changed."""

import argparse
import sys
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
        _help(Path("conf")) if arguments.help else _configure(arguments.overrides, params)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(MISTAKE_EXIT_CODE) from None


def _help(presets: Path) -> None:
    print(f"{USAGE}\n\nPresets:")
    for group, choices in groups(presets).items():
        for choice, comment in choices.items():
            print(f"  {f'{group}={choice}':<28} {comment}")


def _configure(overrides: list[str], params: Path) -> None:
    new = compose(overrides, params)
    if not overrides and params.exists():
        for field, value in flatten(new).items():
            print(f"{field:<36} {_shown(value)}")
        print(f"{params} is valid")
        return
    changes = differences(_present(params), new)
    if changes:
        write(new, params)
    for field, before, after in changes:
        print(f"{field:<36} {_shown(before)} -> {_shown(after)}")
    print(f"{params}: {len(changes)} values changed" if changes else f"{params}: nothing to change")


def _present(params: Path) -> dict[str, Any]:
    """What params.yaml holds now; nothing when it cannot be read, for it is about to be composed anew."""
    try:
        return read_params(params)
    except UserError:
        return {}


def _shown(value: Any) -> str:
    return "(none)" if value is ... else "null" if value is None else str(value)
