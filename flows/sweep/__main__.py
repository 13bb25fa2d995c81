"""The sweep as a command, which uses the running server and workers."""

import argparse
from pathlib import Path

from prefect.settings import PREFECT_API_URL

from flows.sweep.grid import choose, parse
from flows.sweep.sweep_gpt import sweep_gpt
from flows.terminal import purpose, run, server
from gptcore.errors import UserError

EPILOG = """\
examples:
  python -m flows.sweep 'optim.matrix_learning_rate=[0.01,0.02,0.04]' 'train.steps=[500]'
  python -m flows.sweep 'model=[nano,baby]' 'train.seed=[1,2,3]' --samples 4 --at-once 2

A server and a worker must be up: `make ui`. Run it again after a failure, and it does what is missing."""


def main() -> None:
    """Run the sweep given on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.sweep", description=purpose(sweep_gpt), epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("grid", nargs="+", metavar="name=[value,...]", help="values to try of a parameter or preset")
    parser.add_argument("--samples", type=_count, help="take so many combinations, drawn at random; else all")
    parser.add_argument("--seed", type=int, default=0, help="of that drawing")
    parser.add_argument("--at-once", type=_count, default=2, help="runs at the same time")
    parser.add_argument("--deployment", default="train-gpt/train-local", help="what each run is a run of")
    given = parser.parse_args()
    run(lambda: _sweep(given))


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is no number of runs")
    return int(text)


def _sweep(given: argparse.Namespace) -> str:
    grid = parse(given.grid)
    choose(grid, given.samples, given.seed, Path("params.yaml"))  # report a mistake before any run is created
    with server():
        if not PREFECT_API_URL.value():
            raise UserError("no Prefect server is up; `make ui` starts one, with a worker")
        return sweep_gpt(grid, given.samples, given.seed, given.at_once, given.deployment)


if __name__ == "__main__":
    main()
