"""List the clones in which flows run, and remove those that failed runs have left.

gptcore workspaces                     list them
gptcore workspaces remove NAME ...     remove these
gptcore workspaces remove --all        remove all whose run has ended
"""

import argparse
from pathlib import Path

from gptcore.config.workspaces import Found, find, remove
from gptcore.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    subparsers = parser.add_subparsers(dest="action", metavar="remove")
    removing = subparsers.add_parser("remove", help="remove workspaces whose run has ended")
    removing.add_argument("names", nargs="*", metavar="NAME")
    removing.add_argument("--all", action="store_true", help="all whose run has ended")


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    checkout = Path.cwd()
    if arguments.action is None:
        _list(find(checkout))
        return
    if arguments.all == bool(arguments.names):
        raise UserError("`gptcore workspaces remove` takes names, or --all")
    names = arguments.names or [found.name for found in find(checkout) if not found.is_running]
    for name in names:
        remove(checkout, name)
        print(f"removed {name}")


def _list(workspaces: list[Found]) -> None:
    if not workspaces:
        print("no workspaces")
        return
    rows = [("NAME", "RUN", "AGE", "MB", "TO SEE THE RUN")]
    for each in workspaces:
        show = f"prefect flow-run inspect {each.flow_run_id}" if each.flow_run_id else "(killed while it was made)"
        age = f"{each.age_seconds / 3600:.1f} h"
        rows.append((each.name, "running" if each.is_running else "left", age, f"{each.size_bytes / 1e6:.0f}", show))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]]))
