"""Train on one batch until it is memorized, to check that a model and a recipe can learn at all.

Reads params.yaml and data/tokens in the current folder and writes nothing. Dropout is off, and the learning-rate
schedule spans the given number of steps.
"""

import argparse
import sys
from pathlib import Path

from gptcore.config.paths import Paths
from gptcore.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=200, metavar="N", help="at most so many; %(default)s if not given")


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError; exits 1 when the loss does not fall far enough."""
    from gptcore.training.overfit import overfit

    if arguments.steps < 1:
        raise UserError(f"--steps {arguments.steps} is not at least 1")
    goal, reports = overfit(Paths(Path.cwd()), arguments.steps)
    for report in reports:
        done = report.loss <= goal
        if done or report.step == 1 or report.step % max(arguments.steps // 10, 1) == 0:
            print(f"step {report.step:>6,}  loss {report.loss:.4f}", flush=True)
        if done:
            print(f"the batch is known by heart: loss {report.loss:.3f} <= {goal:.3f} after {report.step:,} steps")
            return
    print(
        f"the loss is {report.loss:.3f} after {report.step:,} steps and has to be at or under {goal:.3f}: "
        "give it more --steps or other learning rates; if that does not help, the model has a fault",
        file=sys.stderr,
    )
    raise SystemExit(1)
