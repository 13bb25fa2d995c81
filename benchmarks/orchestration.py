"""Orchestration overhead: a cached run against a bare Prefect flow, stages by hand, and leftovers of many runs.

The pipeline is the tests' scratch project, whose stages take almost no time; a Prefect server is up before measuring
starts, except where one is embedded. The cached runs against a bare flow are whole processes of
`python -m flows.train_gpt`, promotion and report included. The other rows leave out promotion, which is a separate step
and mostly MLflow's time.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from figures import parser, told

from gptcore.config.presets import STAGES
from tests.support import scratch
from tests.support.cluster import Cluster, free_port

REPEATS = 3
CACHED_REPEATS = 5
# five tasks that do nothing, in the same environment as ours
BARE = """
from prefect import flow, task

@task
def nothing(number):
    return number

@flow
def bare():
    for number in range(5):
        nothing(number)

bare()
"""
# in one process: the first run includes the imports of a fresh process, the second shows the cost of a run alone
RUNS = """
import glob, json, os, sys, time
from flows.train_gpt import train_gpt

KINDS = {
    "threads": "/proc/self/task/*", "open files": "/proc/self/fd/*", "temporary files": os.environ["TMPDIR"] + "/**",
    "clones": "data/scratch/workspaces/*", "locks and files of DVC": ".dvc/tmp/**",
    "experiments": ".git/refs/exps/**",
}

def left():
    return {kind: len(glob.glob(where, recursive=True)) for kind, where in KINDS.items()}

overrides, runs, seconds, counts = json.loads(sys.argv[1]), int(sys.argv[2]), [], []
for _ in range(runs):
    started = time.perf_counter()
    train_gpt(overrides, promotion=False)
    seconds.append(time.perf_counter() - started)
    counts.append(left())
print(json.dumps({"seconds": seconds, "first": counts[min(2, runs - 1)], "last": counts[-1]}))
"""


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument(
        "--runs", type=int, default=0, help="cached runs in a row, after which is counted what they left"
    )
    given = arguments.parse_args()
    told(_measured(given), given, "prefect", "dvc")


def _measured(given: argparse.Namespace) -> Iterator[str]:
    with TemporaryDirectory(prefix="gptcore-benchmark-") as folder:
        home = Path(folder)
        (home / "tmp").mkdir()
        cluster = Cluster(home / "prefect", {"TMPDIR": str(home / "tmp"), "MLFLOW_TRACKING_URI": ""})
        cluster.start()
        try:
            yield from _compare(cluster, home)
            yield from _ratios(cluster, home)
            if given.runs:
                yield from _count(cluster, home, given.runs)
        finally:
            cluster.stop()


def _compare(cluster: Cluster, home: Path) -> Iterator[str]:
    by_hand, by_flow = [], []
    for repeat in range(REPEATS):  # alternately
        one, other = scratch.make(home / f"hand-{repeat}"), scratch.make(home / f"flow-{repeat}")
        by_hand.append(_seconds(_by_hand, cluster, one))
        by_flow.append(_seconds(_flow, cluster, other, [], 1))
    root = home / "flow-0"
    here = _flow(cluster, root, [], 4)["seconds"]
    clone = _flow(cluster, root, [f"train.steps={scratch.STEPS}"], 4)["seconds"]
    yield f"stage commands by hand: {median(by_hand):.2f} s, the flow: {median(by_flow):.2f} s"
    yield f"a cached run in the checkout: {median(here):.2f} s, in a clone: {median(clone):.2f} s"
    yield f"cached_stage_in_a_clone_seconds: {median(clone) / len(STAGES):.2f}"
    yield f"overhead_seconds: {median(by_flow) - median(by_hand):.2f}"
    yield f"cached_stage_seconds: {median(here) / len(STAGES):.2f}"


def _ratios(cluster: Cluster, home: Path) -> Iterator[str]:
    """A cached `python -m flows.train_gpt` against a bare flow of five tasks: in seconds, and in seconds of CPU."""
    root = scratch.make(home / "cached")
    embedded = {
        **{name: value for name, value in cluster.environment.items() if name != "PREFECT_API_URL"},
        "PREFECT_HOME": str(home / "embedded"),
        "PREFECT_SERVER_API_PORT": str(free_port()),  # where a flow looks for a server of this machine
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }
    for kind, environment in (("with a server", cluster.environment), ("with an embedded server", embedded)):
        ours, bare = scratch.flow_command(), [sys.executable, "-c", BARE]
        for command in (ours, bare):  # the first time, they run stages, migrate databases and compile modules
            _cost(command, root, environment)
        costs = [(_cost(ours, root, environment), _cost(bare, root, environment)) for _ in range(CACHED_REPEATS)]
        for unit, which in (("seconds", 0), ("seconds of CPU", 1)):
            mine, theirs = (median(pair[side][which] for pair in costs) for side in (0, 1))
            yield f"{kind}: a cached run {mine:.2f}, a bare flow {theirs:.2f} {unit}, ratio {mine / theirs:.2f}"


def _cost(command: list[str], root: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Seconds, and seconds of CPU of the process and its children (a server of its own among them)."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _by_hand(cluster: Cluster, root: Path) -> None:
    for stage in STAGES:
        cluster.command(root, sys.executable, "stages.py", stage)


def _flow(cluster: Cluster, root: Path, overrides: list[str], runs: int) -> dict[str, Any]:
    printed = cluster.command(root, sys.executable, "-c", RUNS, json.dumps(overrides), str(runs))
    measured: dict[str, list[float]] = json.loads(printed.splitlines()[-1])
    return measured


def _count(cluster: Cluster, home: Path, runs: int) -> Iterator[str]:
    counted = _flow(cluster, home / "flow-0", [f"train.steps={scratch.STEPS}"], runs)
    each = median(counted["seconds"])
    yield f"{runs} cached runs in clones, {each:.2f} s each; counted after the third and the last:"
    for kind, before in counted["first"].items():
        yield f"  {kind}: {before}, {counted['last'][kind]}"
    yield f"  processes afterwards: {len(scratch.processes_in(home / 'flow-0'))}"


def _seconds(work: Callable[..., object], *given: object) -> float:
    started = time.perf_counter()
    work(*given)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
