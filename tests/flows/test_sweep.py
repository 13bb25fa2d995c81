"""A sweep on a real server and worker: the scratch project's model improves with the number of steps."""

import csv
import io
import re
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread, Timer
from uuid import UUID

import pandas as pd
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.logging import disable_run_logger
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed

from flows.sweep.__main__ import main
from flows.sweep.grid import Member
from flows.sweep.plot import RESULT, draw
from flows.sweep.report import Outcome, chosen, command, over_seeds, rank
from flows.sweep.runs import Order, find_deployment, run_all
from gptcore.errors import UserError
from tasks.dvc.experiments import Experiment, experiments
from tests.support import scratch
from tests.support.cluster import Cluster, free_port
from tests.support.command import run_command

pytestmark = pytest.mark.slow

DEPLOYMENT = "train-gpt/train-local"
SWEEP = ("env", "COLUMNS=200", sys.executable, "-m", "flows.sweep")
GRID = f"train.steps=[{scratch.STEPS},{scratch.STEPS_FAIL},{scratch.STEPS_BETTER}]"


def ranking(output: str) -> list[list[str]]:
    """The cells of the table rows that list runs in the terminal output."""
    rows = [re.split(r"  +", line.strip()) for line in output.splitlines()]
    return [row for row in rows if len(row) > 2 and row[0].isdigit()]


@pytest.mark.timeout(600)  # half a minute, but several on a busy machine
def test_sweep_ranks_promotes_and_runs_only_what_is_missing(cluster: Cluster, finished: Path) -> None:
    with cluster.worker(finished, limit=2):
        said = cluster.command(finished, *SWEEP, GRID)
    assert "3 runs, of which 1 are there already" in said  # the finished project's run
    (best, known, failed) = ranking(said)
    assert best[2:4] == [str(scratch.STEPS_BETTER), "2.0200"]
    assert known[2:4] == [str(scratch.STEPS), "2.0500"]
    assert known[-1] == "was there already"
    assert failed[2:] == [str(scratch.STEPS_FAIL), "Failed: train: 13 steps bring bad luck; take 14"]
    assert "gpt version 2 is the new champion: its 2.0200 bits per byte" in said
    scratch.wait_until(lambda: best[1] in cluster.promoted())
    assert cluster.promoted().count(best[1]) == 1

    (made, _) = experiments(finished)
    seeds = [Member({}, [], {**made.params, "train.seed": seed}) for seed in (1, 2)]
    said = "".join(over_seeds([Outcome(each, replace(made, params=each.params), None) for each in seeds]))
    assert said.startswith("Of train.seed 1, 2: The model is better than the baseline: the difference is -0.")

    shown = scratch.run(finished, *shlex.split(command()), "--csv")
    order = [row["Experiment"] for row in csv.DictReader(io.StringIO(shown)) if row["Experiment"]]
    assert order == [best[1], known[1]]


def test_sweep_over_the_baseline_looks_for_the_best_baseline() -> None:
    """The model is the same in all of them: it is judged against the best of the declared grid."""
    outcomes = []
    for rate, bits in ((0.001, 2.1), (0.002, 2.06), (0.004, 2.2)):
        overrides = [f"baseline.optim.matrix_learning_rate={rate}", "baseline=nanogpt"]
        metrics = {"model.bits_per_byte": 2.0, "baseline.bits_per_byte": bits}
        values = {"baseline.optim.matrix_learning_rate": rate, "baseline": "nanogpt"}
        outcomes.append(Outcome(Member(values, overrides, {}), Experiment("x", {}, {}, metrics, {}), None))
    best = rank(outcomes)[0]
    (said,) = chosen(best)
    assert said.endswith("`gptcore configure baseline.optim.matrix_learning_rate=0.002 baseline=nanogpt`")
    outcomes[0].member.values["train.seed"] = 1
    assert outcomes[0].bits_per_byte == 2.0
    assert list(chosen(outcomes[0])) == []


def test_server_that_fails_once_ends_no_run(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    run, order = under_way(cluster)
    with cluster.client() as client, cluster.failing("500", "POST /api/flow_runs/filter") as plan, waiting(monkeypatch):

        def complete() -> None:
            scratch.wait_until(lambda: plan.struck == ["POST /api/flow_runs/filter"])
            time.sleep(1)  # it is found to be under way
            client.set_flow_run_state(run, Completed())

        Thread(target=complete).start()
        with get_client(sync_client=True) as failing:
            (ended,) = run_all(failing, failing.read_deployment_by_name(DEPLOYMENT), [order], 1)
    assert (ended.id, ended.state_name, len(plan.struck)) == (run, "Completed", 1)


def test_run_that_is_deleted_ends_the_sweep_and_what_it_started(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the runs of others that it waits for as well."""
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__NAME", "a-sweep")
    deleted, other = under_way(cluster), under_way(cluster)
    own = Order(f"own-{free_port()}", [f"train.seed={free_port()}"], promotion=False)
    cluster.submit(DEPLOYMENT, overrides=own.overrides, promotion=False, model="baby")  # not the same
    with cluster.client() as client, waiting(monkeypatch):
        Timer(1, client.delete_flow_run, [deleted[0]]).start()
        with pytest.raises(UserError, match=f"the run {deleted[0]} was deleted; start the sweep again"):
            run_all(client, client.read_deployment_by_name(DEPLOYMENT), [own, other[1], deleted[1]], 3)
        named = FlowRunFilter(name=FlowRunFilterName(any_=[own.name]))
        (started,) = client.read_flow_runs(flow_run_filter=named)
    assert (started.state_name, cluster.state(other[0])) == ("Cancelled", "Scheduled")


def under_way(cluster: Cluster) -> tuple[UUID, Order]:
    """A run of train-gpt that somebody has started, and an order for the same."""
    overrides = [f"train.seed={free_port()}"]
    run = cluster.submit(DEPLOYMENT, overrides=overrides, promotion=False)
    return run, Order(cluster.flow_run(run).name, overrides, promotion=False)


@contextmanager
def waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a flow, at short intervals."""
    monkeypatch.setattr("flows.sweep.runs.POLL_SECONDS", 0.1)
    with disable_run_logger():
        yield


def test_what_is_not_there_is_one_line(
    cluster: Cluster, finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with cluster.client() as client:
        with pytest.raises(UserError, match="has no deployment train-gpt/none; `make deploy` brings"):
            find_deployment(client, "train-gpt/none")
        with pytest.raises(UserError, match=r"^none is no deployment, which is flow.name"):
            find_deployment(client, "none")
        with pytest.raises(UserError, match=r"no worker takes runs of train-gpt/train-gpu; start one: prefect worker"):
            find_deployment(client, "train-gpt/train-gpu")
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        assert run_command(monkeypatch, GRID, main=main) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(r"error: no Prefect server answers at http://127.0.0.1:\d+/api: .*; `make ui` .*\n", said)


def test_pictures_of_one_and_of_several_values() -> None:
    for values in (
        [{"a": 1}, {"a": 20}],
        [{"a": 1, "m": "x"}, {"a": 2, "m": "y"}],
        [{"a": 3}],
        [{"b": True}, {"b": None}],
    ):
        table = pd.DataFrame(values, dtype=object).assign(**{RESULT: [2.0 + number for number in range(len(values))]})
        assert draw(table).startswith(b"\x89PNG")
