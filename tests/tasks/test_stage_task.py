"""What happens to a failing stage: real faults, on real DVC and a real Prefect server."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from prefect.states import Failed

from flows.train_gpt import train_gpt
from gptcore.errors import Unavailable, UserError
from tasks.dvc import record as record_module
from tasks.dvc.probe import Verdict, probe
from tasks.stage import StageCrashed, StageFailed, is_worth_a_retry
from tasks.train import train
from tests.support import scratch
from tests.support.cluster import Cluster
from tests.support.patience import PATIENCE

ALL_STEPS = list(range(1, scratch.STEPS + 1))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry without a delay."""
    monkeypatch.setattr(train, "retry_delay_seconds", 0)


@pytest.mark.usefixtures("at_once")
def test_killed_trainer_is_retried_and_goes_on(project: Path) -> None:
    (project / "trouble-train").write_text("kill 3")
    assert "| train | Completed |" in train_gpt(promotion=False)
    assert scratch.steps_taken(project) == ALL_STEPS  # each step once: none lost, none repeated


def test_killed_before_its_result_is_recorded_it_need_not_train_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(root: Path, stage: str, key: str | None) -> Verdict:
        if stage == "train":
            raise KeyboardInterrupt
        return record_module.record(root, stage, key)

    with monkeypatch.context() as patch:
        patch.setattr("tasks.workspace.workspace.record", record)
        with pytest.raises(KeyboardInterrupt):
            train_gpt()
    assert "| train | Completed |" in train_gpt(promotion=False)
    assert scratch.steps_taken(project) == ALL_STEPS
    assert not list((project / "data/scratch/train").iterdir())


def test_only_what_may_succeed_later_is_worth_a_retry() -> None:
    assert is_worth_a_retry(train, None, Failed(data=StageCrashed("killed")))  # type: ignore[arg-type]
    assert is_worth_a_retry(train, None, Failed(data=Unavailable("no answer")))  # type: ignore[arg-type]
    assert not is_worth_a_retry(train, None, Failed(data=StageFailed("bad luck")))  # type: ignore[arg-type]
    assert not is_worth_a_retry(train, None, Failed(data=ValueError("a bug of ours")))  # type: ignore[arg-type]


def test_code_edited_while_it_runs_is_not_bound_to_its_result(finished: Path) -> None:
    scratch.set_steps(finished, scratch.STEPS_BETTER)
    before = (finished / "dvc.lock").read_bytes()
    (finished / "trouble-train").write_text("edit 2")
    with pytest.raises(StageFailed, match=r"^train: code.py changed while it ran, .* run it again$"):
        train_gpt()
    assert (finished / "dvc.lock").read_bytes() == before
    edited = probe(finished)["train"]
    assert "code.py changed" in edited.why
    assert edited.key not in {folder.name for folder in (finished / ".dvc/cache/runs").glob("*/*")}


def test_a_dvc_push_meanwhile_costs_nothing_but_waiting(project: Path) -> None:
    (project / "trouble-train").write_text("push 2")  # the push begins during the training and outlasts it
    assert "| train | Completed |" in train_gpt(promotion=False)
    assert scratch.steps_taken(project) == ALL_STEPS
    assert not probe(project)["train"].why


def test_stopped_flow_leaves_a_checkpoint_and_no_process(
    project: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First by SIGTERM, on a server that is up; then by Ctrl-C, on a server of its own. `dvc repro` goes on."""
    stop_at(project, 4, lambda flow: flow.terminate(), embedded=False)
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.setenv("PREFECT_HOME", str(cluster.twin(project.with_name("home")).home))  # migrations take 10 s
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", "1")  # nothing listens there, whatever else this machine runs
    # a terminal signals the flow's whole process group, its server included
    stop_at(project, 8, lambda flow: os.killpg(flow.pid, signal.SIGINT), embedded=True)
    scratch.dvc(project, "repro", "train")
    assert scratch.steps_taken(project) == ALL_STEPS


def stop_at(project: Path, step: int, stop: Callable[["subprocess.Popen[str]"], object], embedded: bool) -> None:
    """Start the flow, and stop it in its training."""
    (project / "trouble-train").write_text(f"wait {step}")
    flow = scratch.start(project, *scratch.flow_command())
    scratch.wait_until(lambda: scratch.steps_taken(project) == ALL_STEPS[:step])
    ours = [each for each in scratch.processes_in(project) if "flows.services.embedded" in each]
    assert len(ours) == embedded  # not Prefect's, whose transactions on SQLite fail now and then
    stop(flow)
    output, _ = flow.communicate(timeout=PATIENCE)
    assert flow.returncode == 75
    assert "stopped; run it again and it goes on from the last checkpoint" in output.splitlines()
    assert "train: stopped" in output  # the trainer was asked to stop, not killed
    assert scratch.processes_in(project) == []
    (project / "trouble-train").unlink()


def test_a_missing_dependency_is_named(project: Path) -> None:
    dvc_yaml = project / "dvc.yaml"
    dvc_yaml.write_text(dvc_yaml.read_text().replace("- code.py", "- nowhere.py"))
    with pytest.raises(UserError, match=r"nowhere\.py"):
        train_gpt()


def test_missing_result_is_restored_without_running(finished: Path) -> None:
    shutil.rmtree(finished / "data/model/export")
    assert "| train | Cached | restored from run-cache |" in train_gpt()
    assert scratch.steps_taken(finished) == ALL_STEPS
