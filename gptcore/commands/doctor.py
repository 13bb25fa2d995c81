"""Say what this machine has for training, and what to do about what is missing.

gptcore doctor
gptcore doctor --json

Run it in the checkout. Exit code 0: a training can run; 1: something that it needs is missing.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from gptcore.errors import UserError

if TYPE_CHECKING:
    from gptcore.doctor.finding import Finding

COLOURS = {"ok": "green", "note": "yellow", "missing": "bold red"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError outside of a checkout."""
    from gptcore.doctor.examine import examine

    root = Path.cwd()
    if not (root / "dvc.yaml").is_file():
        raise UserError(f"there is no dvc.yaml in {root}; run this in the repository's root folder")
    findings = examine(root)
    can_train = all(each.state != "missing" for each in findings)
    if arguments.json:
        told = {"can_train": can_train, "findings": [asdict(each) for each in findings]}
        print(json.dumps(told, indent=2, ensure_ascii=False))
    elif sys.stdout.isatty():
        _show(findings)
    else:
        print("\n".join(_lines(findings)))
    if not can_train:
        raise SystemExit(1)


def _lines(findings: "list[Finding]") -> list[str]:
    """One line each, for a file or a pipe."""
    width = max(len(each.what) for each in findings)
    return [f"{each.state:<7}  {each.what:<{width}}  {_told(each)}" for each in findings]


def _show(findings: "list[Finding]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for each in findings:
        table.add_row(Text(each.state, COLOURS[each.state]), Text(each.what), Text(_told(each)))
    Console().print(table)


def _told(finding: "Finding") -> str:
    return f"{finding.found}; {finding.remedy}" if finding.remedy else finding.found
