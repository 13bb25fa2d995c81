"""Give the alias `champion` back to an earlier version. `python -m flows.rollback_gpt --help`."""

import argparse
from pathlib import Path
from typing import Annotated

from prefect import flow, get_run_logger
from pydantic import Field

from flows.terminal import purpose, run, server
from tasks.rollback import roll_back


@flow(name="rollback-gpt")
def rollback_gpt(why: str, to: Annotated[int, Field(ge=1)] | None = None) -> str:
    """Make an earlier version champion again, after a check of every byte of its weights.

    The version that loses the alias is withdrawn: no run makes it champion again. Returns a sentence.

    Args:
        why: What is wrong with the champion; the journal keeps it.
        to: The version that gets the alias; without it, the champion before.
    """
    number = roll_back(Path.cwd(), to, why)
    sentence = f"gpt version {number} is the champion again: {' '.join(why.split())}"
    get_run_logger().info(sentence)
    return sentence


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.rollback_gpt", description=purpose(rollback_gpt))
    parser.add_argument("--to", type=int, metavar="N", help="the version; the champion before if not given")
    parser.add_argument("--why", required=True, help="what is wrong with the champion")
    given = parser.parse_args()

    def start() -> str:
        with server():
            return rollback_gpt(given.why, given.to)

    run(start)


if __name__ == "__main__":
    _main()
