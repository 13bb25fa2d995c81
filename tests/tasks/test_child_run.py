"""With `gpu_pool`, GPU stages are separate runs on another machine's worker, only if needed."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed

from flows.train_gpt import train_gpt
from gptcore.errors import UserError
from tasks.process.away import unless_away
from tasks.process.child_run import _has_ended, _wait, check_pool
from tests.flows.test_flow import experiments, verdicts
from tests.support import scratch
from tests.support.cluster import Cluster
from tests.support.faulty_proxy import Fault
from tests.tasks.test_faults import flow_process, trainers


def children(cluster: Cluster) -> list[FlowRun]:
    with cluster.client() as client:
        return client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=["run-stage"])))


@pytest.fixture
def remote(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project with a DVC remote on a shared disk; tokenize has run but was never pushed."""
    monkeypatch.setattr("tasks.process.child_run.POLL_SECONDS", 0.2)
    scratch.dvc(project, "remote", "add", "--default", "disk", str(tmp_path / "disk"))
    scratch.commit(project)
    scratch.dvc(project, "repro", "tokenize")
    return project


@pytest.fixture
def gpu_machine(remote: Path, tmp_path: Path, cluster: Cluster) -> Iterator[Path]:
    """Another clone, with an empty DVC cache, and a worker of the pool gpu in it."""
    scratch.run(tmp_path, "git", "clone", "--quiet", str(remote), "gpu-machine")
    cluster.environment["GPTCORE_REPOSITORY"] = str(remote)
    try:
        with cluster.worker(tmp_path / "gpu-machine", pool="gpu"):
            yield tmp_path / "gpu-machine"
    finally:
        del cluster.environment["GPTCORE_REPOSITORY"]


def test_only_what_must_run_goes_to_the_gpus_and_ends_with_its_parent(
    remote: Path, gpu_machine: Path, cluster: Cluster
) -> None:
    (remote / "code.py").write_text("edited = 'not committed'\n")
    scratch.dvc(remote, "repro", "tokenize")
    before = len(children(cluster))
    rows = verdicts(train_gpt(["train.steps=30"], gpu_pool="gpu"))
    assert [row.split()[1] for row in rows] == ["Cached", "Cached", "Cached", "Completed", "Completed", "Completed"]
    assert all("ran on pool gpu" in row for row in rows[3:5])
    assert len(children(cluster)) == before + 2
    (experiment,) = experiments(remote).values()
    assert experiment["metrics"]["data/evaluation/metrics.json"]["data"]["model"]["bits_per_byte"] == 2 + 1 / 30
    assert not (remote / "data/model").exists()
    assert not scratch.run(remote, "git", "for-each-ref", "refs/gptcore")
    assert not list((gpu_machine / "data/scratch/workspaces").iterdir())
    assert (gpu_machine / "code.py").read_text() == "edited = False\n"

    again = verdicts(train_gpt(["train.steps=30"], gpu_pool="gpu"))
    assert [row.split()[1] for row in again] == ["Cached"] * 6
    assert len(children(cluster)) == before + 2

    with pytest.raises(UserError, match=r"^train: 13 steps bring bad luck; take 14 \(run \S+-train on pool gpu\)$"):
        train_gpt([f"train.steps={scratch.STEPS_FAIL}"], gpu_pool="gpu")

    # the child ends when its parent was killed
    (gpu_machine / "trouble-train").write_text("wait 4")
    with cluster.worker(remote):
        parent = cluster.submit("train-gpt/train-local", gpu_pool="gpu")
        scratch.wait_until(lambda: scratch.steps_taken(gpu_machine)[-1:] == [4])
        flow_process(parent).kill()
        cluster.wait(parent, "Crashed")
    (child,) = (each for each in children(cluster) if each.state and not each.state.is_final())
    cluster.wait(child.id, "Cancelled")
    assert trainers(gpu_machine) == []
    assert not scratch.run(remote, "git", "for-each-ref", "refs/gptcore")


def test_the_child_is_cancelled_with_its_parent(
    remote: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[UUID] = []

    def wait(child: UUID) -> FlowRun:
        asked.append(child)
        raise KeyboardInterrupt

    monkeypatch.setattr("tasks.process.child_run._wait", wait)
    with pytest.raises(KeyboardInterrupt):
        train_gpt(gpu_pool="gpu")
    cluster.wait(asked[0], "Cancelled", "Cancelling")
    assert not scratch.run(remote, "git", "for-each-ref", "refs/gptcore")


@pytest.mark.parametrize("fault", ["500", "drop"])
def test_a_failing_server_has_not_said_that_a_run_has_ended(
    cluster: Cluster, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.process.child_run.POLL_SECONDS", 0.1)
    run = cluster.submit("train-gpt/train-local")
    with cluster.failing(fault, f"GET /api/flow_runs/{run}") as plan:
        assert not plan.struck
        with unless_away():
            assert not _has_ended(run)
        assert len(plan.struck) == 1
    with cluster.client() as client:
        client.set_flow_run_state(run, Completed())
    with cluster.failing(fault, f"GET /api/flow_runs/{run}") as plan:
        assert _wait(run).id == run
        assert len(plan.struck) == 1
    with cluster.client() as client:
        client.delete_flow_run(run)
        assert _has_ended(run)


def test_what_is_missing_is_said_before_anything_starts(project: Path, cluster: Cluster) -> None:
    with pytest.raises(UserError, match=r"^gpu_pool=gpu: data travels .* `dvc remote add -d`$"):
        train_gpt(gpu_pool="gpu")
    with pytest.raises(UserError, match=r"^gpu_pool=mine: there is no deployment run-stage/mine; `make deploy POOLS="):
        check_pool("mine", has_remote=True)
    assert not (project / "data/raw").exists()
