"""What dies and recovers during a run: real faults, on a real server and real process workers."""

import signal
from pathlib import Path
from uuid import UUID

import psutil
from prefect.states import Cancelling

from tasks.stop import STOPPED
from tests.support import scratch
from tests.support.cluster import Cluster
from tests.support.patience import PATIENCE
from tests.support.s3 import BUCKET, s3_server
from tests.tasks.test_show import ask

ALL_STEPS = list(range(1, scratch.STEPS + 1))
DEPLOYMENT = "train-gpt/train-local"


def begin(cluster: Cluster, project: Path, step: int = 4) -> UUID:
    """Start a run whose training waits at `step`."""
    (project / "trouble-train").write_text(f"wait {step}")
    run = cluster.submit(DEPLOYMENT, promotion=False)
    scratch.wait_until(lambda: scratch.steps_taken(project)[-1:] == [step])
    return run


def flow_process(run: UUID) -> psutil.Process:
    (found,) = (each for each in psutil.process_iter() if is_flow(each, run))
    return found


def is_flow(process: psutil.Process, run: UUID) -> bool:
    try:
        return "prefect.engine" in process.cmdline() and process.environ().get("PREFECT__FLOW_RUN_ID") == str(run)
    except psutil.Error:
        return False


def trainers(project: Path) -> list[str]:
    return [line for line in scratch.processes_in(project) if "worker start" not in line]


def test_a_run_goes_on_after_whatever_died(cluster: Cluster, project: Path) -> None:
    """One training: a run that is cancelled, the next one's flow is killed, and the server is for the third.

    Then another, whose worker is killed. No step is lost and none is taken twice.
    """
    with cluster.worker(project) as worker:
        cancelled = begin(cluster, project)
        with cluster.client() as client:
            client.set_flow_run_state(cancelled, Cancelling())  # as `prefect flow-run cancel` does
        cluster.wait(cancelled, "Cancelled")
        assert trainers(project) == []
        states = {each["name"]: each["state"] for each in ask("/task_runs/filter", str(cancelled))}
        assert {name: state["name"] for name, state in states.items()} == {
            "download": "Completed", "start": "Completed", "tokenize": "Completed", "train": "Cancelled"
        }  # fmt: skip
        assert states["train"]["message"] == STOPPED

        crashed = begin(cluster, project, step=8)
        flow_process(crashed).kill()
        state = cluster.wait(crashed, "Crashed").state
        assert state
        assert "-9" in str(state.message) or "137" in str(state.message)
        scratch.wait_until(lambda: trainers(project) == [])

        alone = begin(cluster, project, step=12)
        cluster.stop(signal.SIGKILL)
        (project / "trouble-train").unlink()
        scratch.wait_until(lambda: scratch.steps_taken(project) == ALL_STEPS)
        cluster.start()
        cluster.wait(alone, "Completed")

        scratch.set_steps(project, scratch.STEPS_WORSE)
        left = begin(cluster, project)
        worker.kill()
        worker.wait()
        (project / "trouble-train").unlink()  # the run continues, though nothing reads its output any more
        cluster.wait(left, "Completed")
    assert scratch.steps_taken(project) == [*ALL_STEPS, *range(1, scratch.STEPS_WORSE + 1)]


def test_another_host_goes_on_where_a_spot_machine_was_taken_away(
    cluster: Cluster, project: Path, tmp_path: Path
) -> None:
    """Two clones of one git remote with separate homes, disks and DVC caches; they share only checkpoints on S3."""
    hosts = [tmp_path / "host-1", tmp_path / "host-2"]
    with s3_server() as storage:
        settings = {**storage.environment, "GPTCORE_CHECKPOINTS": f"s3://{BUCKET}/checkpoints"}
        for host in hosts:
            scratch.run(tmp_path, "git", "clone", "--quiet", str(project), str(host))
        first, second = (cluster.on_host(host / "data/home", settings) for host in hosts)
        (hosts[0] / "trouble-train").write_text("wait 4")
        run = cluster.submit(DEPLOYMENT, promotion=False)
        with first.launched(hosts[0], "flows.services.worker", "cpu", log="worker.log") as worker:
            scratch.wait_until(lambda: scratch.steps_taken(hosts[0]) == ALL_STEPS[:4])
            worker.terminate()
            worker.wait(PATIENCE)
            cluster.wait(run, "AwaitingRetry")
            assert scratch.processes_in(hosts[0]) == []
        with second.worker(hosts[1]):
            cluster.wait(run, "Completed")
    assert scratch.steps_taken(hosts[1]) == ALL_STEPS[4:]
