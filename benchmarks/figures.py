"""The lines of a benchmark that compares no two sides: printed one by one as they are measured, kept with --save."""

import argparse
import os
import platform
import sys
from collections.abc import Iterable
from importlib.metadata import version
from itertools import chain
from pathlib import Path

from load import require_free

RESULTS = Path(__file__).with_name("results")
sys.path.append(str(RESULTS.parents[1]))  # some measure in the tests' scratch project: tests/ is not installed


def parser(description: str | None) -> argparse.ArgumentParser:
    """With the options that `told` reads."""
    made = argparse.ArgumentParser(description=(description or "").partition("\n\n")[0])
    made.add_argument("--under-load", action="store_true", help="measure on a busy machine all the same")
    made.add_argument("--save", action="store_true", help=f"keep the figures in benchmarks/results/{_script()}.txt")
    return made


def told(lines: Iterable[str], given: argparse.Namespace, *packages: str) -> None:
    """Print the `lines`, after those on command, machine and versions, and keep them if asked to.

    Exits, before the first of them is measured, if others keep the machine busy.
    """
    share, kept = require_free(given.under_load), []
    for line in chain(_where(share, packages), lines):
        print(line, flush=True)
        kept.append(line)
    if given.save:
        (RESULTS / f"{_script()}.txt").write_text("\n".join(kept) + "\n")


def _where(share: float, packages: Iterable[str]) -> Iterable[str]:
    arguments = ["PATH" if each.startswith("/") else each for each in sys.argv[1:]]
    yield " ".join([f"python benchmarks/{_script()}.py", *arguments])
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    yield f"{processor_name()}, {os.cpu_count()} cores; python {platform.python_version()}, {versions}"
    yield f"other programs used {share:.0%} of the cores before it"


def _script() -> str:
    return Path(sys.argv[0]).stem


def processor_name() -> str:
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
