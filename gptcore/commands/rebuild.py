"""Make a version of the model again from its commit, parameters and data, and compare the two.

gptcore rebuild 3              restore what DVC's cache or remote has, run the rest
gptcore rebuild 3 --rerun      run every stage but download and start again, without the cache

It starts the flow rebuild-gpt in this checkout. The answer becomes the tag `rebuild` of the version.
"""

import argparse
import subprocess
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version", type=int, metavar="N", help="the number of the version")
    parser.add_argument("--rerun", action="store_true", help="train anew, without the cache")


def run(arguments: argparse.Namespace) -> None:
    """The flow is a program of its own: gptcore knows no Prefect."""
    command = [sys.executable, "-m", "flows.rebuild_gpt", str(arguments.version)]
    raise SystemExit(subprocess.run(command + ["--rerun"] * arguments.rerun, check=False).returncode)
