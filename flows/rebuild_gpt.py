"""Make a version of the model again and compare. `python -m flows.rebuild_gpt --help`, or `gptcore rebuild`."""

import argparse
from pathlib import Path
from typing import Annotated, cast

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from flows.terminal import purpose, run, server
from flows.train_gpt import STAGES
from gptcore.errors import UserError
from tasks.rebuild import compare
from tasks.stop import unless_stopped
from tasks.workspace.revisions import commit_of
from tasks.workspace.workspace import open_commit


@flow(name="rebuild-gpt")
def rebuild_gpt(version: Annotated[int, Field(ge=1)], rerun: bool = False) -> str:
    """Make a version again in a clean workspace, from its commit, parameters and data, and compare the two.

    What DVC's cache or remote has is restored, the rest runs. The answer becomes the tag `rebuild` of the version.
    Fails if the models differ and their hardware does not, or by more than the interval allows.

    Args:
        version: The number of the version.
        rerun: Run every stage but `download` and `start` again, with a cache of its own.
    """
    parent, commit = _commits(version)
    with open_commit(parent, commit, rerun) as workspace:
        states: dict[str, State[None]] = {}
        known = {stage: inputs for stage, inputs in STAGES.items() if stage.name in workspace.stages}
        for stage, inputs in known.items():
            before = [states[each.name] for each in inputs if each in known]
            states[stage.name] = unless_stopped(stage(workspace, wait_for=before))
        sentence = compare(workspace, version, wait_for=[states["evaluate"]])
    get_run_logger().info(sentence)
    return cast(str, Completed(message=sentence, data=sentence))  # Prefect gives callers the data


def _commits(version: int) -> tuple[str, str]:
    """The commit that the version's run started from, and the one with all that the run has read."""
    from gptcore.registry.tracking import opened_in

    with opened_in(Path.cwd()) as registry:
        tags = registry.version(version).tags
    if "git_commit" not in tags or "model_sha256" not in tags:
        raise UserError(f"gpt version {version} names no git commit to make it from: no flow has registered it")
    return tags["git_commit"], commit_of(Path.cwd(), tags.get("dvc_experiment"), tags["git_commit"])


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.rebuild_gpt", description=purpose(rebuild_gpt))
    parser.add_argument("version", type=int, metavar="N", help="the number of the version")
    parser.add_argument("--rerun", action="store_true", help="run all but download and start, without the cache")
    given = parser.parse_args()

    def start() -> str:
        with server():
            return rebuild_gpt(given.version, given.rerun)

    run(start)


if __name__ == "__main__":
    _main()
