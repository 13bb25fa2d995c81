"""Prefect's API as the pages read it, on the real server."""

import logging
from pathlib import Path

import pytest

from gptcore.errors import Unavailable, UserError
from lab.read.log import Log
from lab.read.prefect import Prefect
from tests.support.cluster import Cluster, free_port


def test_a_run_is_started_found_and_cancelled(cluster: Cluster, queues: str) -> None:
    prefect = Prefect(queues)
    local = next(each for each in prefect.deployments() if each.name == "train-local")
    assert local.pool == "cpu"
    run = prefect.start(local.id, {"overrides": ["train.steps=3"], "promotion": False})
    assert run.id in [each.id for each in prefect.runs()]
    found = prefect.run(run.id)
    assert (found.state, found.is_final, found.parameters["overrides"]) == ("Scheduled", False, ["train.steps=3"])
    assert prefect.steps(run.id) == []
    assert prefect.run(run.id).may_be_cancelled
    prefect.cancel(run.id)
    cancelled = prefect.run(run.id)
    assert cancelled.state in ("Cancelled", "Cancelling") and not cancelled.may_be_cancelled
    by_name = prefect.start("rebuild-gpt/rebuild-local", {"version": 1})
    assert by_name.parameters == {"version": 1}


def test_logs_and_pages_of_a_run(cluster: Cluster, server: str) -> None:
    from prefect import flow, get_run_logger, task
    from prefect.artifacts import create_markdown_artifact
    from prefect.logging.handlers import APILogWorker
    from prefect.runtime import flow_run

    @task
    def train() -> None:
        for step in (1, 2):
            get_run_logger().log(logging.INFO, f"{50 * step}% |#| step {step}/2  loss 3.{step}  0:0{2 - step} left")
        create_markdown_artifact("it is new", key="train")

    @flow
    def trains() -> str:
        train()
        return str(flow_run.id)

    run = trains()
    APILogWorker.drain_all()
    prefect, log = Prefect(server), Log(run)
    log.update(prefect)
    log.update(prefect)
    (step,) = prefect.steps(run)
    assert (step.name.split("-")[0], step.state) == ("train", "Completed")
    assert [each.loss for each in log.points[step.id]] == [3.1, 3.2]
    assert len({each.id for each in log.last}) == len(log.last)
    assert prefect.artifacts(run) == {"train": "it is new"}
    assert prefect.run(run).is_final and not prefect.run(run).may_be_cancelled


def test_a_server_that_is_away_and_a_run_that_is_none(server: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        Prefect(f"http://127.0.0.1:{free_port()}/api").runs()
    with pytest.raises(UserError, match="does not know /flow_runs/"):
        Prefect(server).run("00000000-0000-0000-0000-000000000000")
