"""What Prefect's UI shows after a run: names, tags, artifacts, log lines, events."""

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.utilities.urls import url_for
from ruamel.yaml import YAML

from flows.train_gpt import train_gpt
from tasks.show import harmless, summary
from tests.support import scratch


def ask(path: str, flow_run_id: str | None = None) -> list[dict[str, Any]]:
    chosen = {"flow_runs": {"id": {"any_": [flow_run_id]}}} if flow_run_id else {}
    with get_client(sync_client=True) as client:
        answer = client.request("POST", path, json={**chosen, "limit": 200})
    found: list[dict[str, Any]] = answer.json()
    return found


def artifacts(flow_run_id: str) -> dict[str, dict[str, Any]]:
    return {each["key"]: each for each in ask("/artifacts/filter", flow_run_id)}


def edges(flow_run_id: str) -> set[tuple[str, str]]:
    """The arrows between the tasks in the UI's graph of a run."""
    with get_client(sync_client=True) as client:
        graph = client.request("GET", f"/flow_runs/{flow_run_id}/graph-v2").json()
    nodes = dict(graph["nodes"])
    return {(nodes[each["id"]]["label"], node["label"]) for node in nodes.values() for each in node["parents"]}


def dvc_edges(project: Path) -> set[tuple[str, str]]:
    """Which stage of dvc.yaml reads what another makes."""
    stages = YAML(typ="safe").load(project / "dvc.yaml")["stages"]
    maker = {path: name for name, stage in stages.items() for path in stage["outs"]}
    return {(maker[path], name) for name, stage in stages.items() for path in stage["deps"] if path in maker}


def test_pages_of_a_run(finished: Path) -> None:
    scratch.commit(finished)  # includes dvc.lock, which later runs are compared with
    override = f"train.steps={scratch.STEPS_BETTER}"
    state = train_gpt(steps=scratch.STEPS_BETTER, return_state=True)
    assert (state.name, state.message.partition(":")[0]) == ("Completed", "gpt version 2 is the new champion")
    run = str(state.state_details.flow_run_id)
    assert sorted(each["name"] for each in ask("/task_runs/filter", run)) == sorted(
        ["download", "start", "tokenize", "train", "baseline", "evaluate", "promote", "keep-page"]
    )
    assert edges(run) == {*dvc_edges(finished), ("evaluate", "promote"), ("promote", "keep-page")}
    ((tags, name),) = [(each["tags"], each["name"]) for each in ask("/flow_runs/filter", run)]
    assert override in tags

    pages = artifacts(run)
    changed = f"train.steps: {scratch.STEPS} → {scratch.STEPS_BETTER}"
    assert f"- `{changed}`" in pages["train"]["data"]
    assert re.search(r"\| val_loss \| 1.5 \|", pages["train"]["data"])
    assert re.search(r"Stage key `[0-9a-f]{64}`", pages["train"]["data"])
    assert "- `data/model/export changed`" in pages["evaluate"]["data"]
    assert "download" not in pages  # it did not run
    assert pages["train-progress"]["data"] == 100
    assert pages["train-progress"]["description"] == f"{name}: train 100% ██ step 1/1"
    assert all(each["description"].startswith(f"{name}: ") for each in pages.values())

    report = pages["report"]["data"]
    assert "](data:image/png;base64,cG5n)" in report  # loss.png
    assert "ROMEO: to …" in report
    assert re.search(rf"ran in \d+ s: {re.escape(changed)}", report)
    commit = scratch.run(finished, "git", "rev-parse", "HEAD")[:10]
    assert f"git show {commit}" in report
    assert f"exp diff {commit} {name}" in report
    assert "data:image" not in state.result()  # the terminal's report
    assert f"- this run (Prefect): {url_for('flow-run', run)}\n" in state.result()
    assert f"- [this run (Prefect)]({url_for('flow-run', run)})\n" in report


@pytest.mark.usefixtures("project")
def test_a_run_shows_no_secret_of_its_overrides(caplog: pytest.LogCaptureFixture) -> None:
    state = train_gpt(["data.source='https://me:hunter2@example.org/a.txt'"], return_state=True)
    assert "holds a user name or password" in str(state.message)
    (run,) = ask("/flow_runs/filter", str(state.state_details.flow_run_id))
    assert run["tags"] == ["data.source='https://***@example.org/a.txt'"]
    assert "hunter2" not in str({**run, "parameters": {}})  # which are as they were given
    assert "hunter2" not in caplog.text


def test_reasons_are_summed_up() -> None:
    assert summary(("a", "b")) == "a, b"
    assert summary(("a", "b", "c", "d")) == "a, b and 2 more"


def test_a_server_that_is_away_ends_no_stage(caplog: pytest.LogCaptureFixture, server: str) -> None:
    from prefect import flow

    @flow
    def away() -> str:
        with harmless():
            raise ConnectionError("nobody there")
        return "went on"

    with caplog.at_level(logging.WARNING):
        assert away() == "went on"
    assert "nobody there" in caplog.text
