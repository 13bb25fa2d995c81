"""Train on the corpus as it is now if its source has changed. `python -m flows.refresh_data`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, cast

from prefect import flow, get_run_logger
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from flows.terminal import end_with, purpose, server
from gptcore.errors import UserError
from tasks.upstream import upstream

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun


@flow(name="refresh-data")
def refresh_data(deployment: str = "train-gpt/train-local") -> str:
    """Compare the corpus of params.yaml with what its source gives now; start a training if the text differs.

    Fetches and hashes the new text, and pins it in the run's overrides. Started again for the same text, this starts no
    second run. Returns a sentence that says what it found.

    Args:
        deployment: The deployment to start a run of, as `flow/deployment`.
    """
    pinned, found = upstream(Path.cwd())
    sentence = f"unchanged: the corpus is still the text of sha256 {pinned}"
    if found != pinned:
        name = _start(deployment, found)
        sentence = (
            f"changed: the corpus was the text of sha256 {pinned} and is that of {found} now; "
            f"{deployment} run {name} trains on it. To keep it: `gptcore configure data.sha256={found}`"
        )
    get_run_logger().info(sentence)
    return sentence


def _start(deployment: str, sha256: str) -> str:
    """Start the one run of `deployment` on that text and return its name. Raises UserError."""
    try:
        run = cast("FlowRun", run_deployment(
            deployment, parameters={"overrides": [f"data.sha256={sha256}"]}, timeout=0, as_subflow=False,
            idempotency_key=f"refresh-data {sha256}", tags=["refresh-data"],
        ))  # fmt: skip
    except ObjectNotFound:
        raise UserError(f"the Prefect server has no deployment {deployment}; `make deploy` makes them") from None
    return run.name


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m flows.refresh_data", description=purpose(refresh_data))
    parser.add_argument("--deployment", default="train-gpt/train-local", metavar="FLOW/NAME", help="what starts")
    deployment = parser.parse_args().deployment
    try:
        with server():
            print(refresh_data(deployment))
    except UserError as error:
        end_with(error)
