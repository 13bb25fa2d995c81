"""Outboxes to MLflow: every step once, in one run, whatever was killed or did not answer."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from gptcore.config.paths import Paths
from gptcore.errors import UserError
from gptcore.tracking.mlflow import Mlflow
from gptcore.tracking.sending import Sending
from gptcore.tracking.trackers import follow, send_left
from tests.support.engine import REPOSITORY
from tests.support.faulty_proxy import Fault, Plan, faulty_proxy
from tests.support.mlflow_server import mlflow_server

PARAMS = {"model": {"n_layer": 2}, "train": {"steps": 9}}
END = {"end": "FINISHED", "tags": {"model_sha256": "abc"}}


@pytest.fixture(scope="module")
def proxied(mlflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Plan]]:
    """A server behind a proxy that can fail."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(mlflow_database, folder)
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        mlflow_server(folder / "mlflow.db", folder / "served") as address,
        faulty_proxy(address) as (proxy, plan),
    ):
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        yield proxy, plan


@pytest.fixture
def box(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The folder of the outboxes of one training; its fingerprint is the test's name."""
    folder = tmp_path / "data/scratch/tracking/mlflow" / request.node.name.replace("[", "-").strip("]")
    folder.mkdir(parents=True)
    return folder


def begin(box: Path, step: int = 0, name: str = "gentle-phoenix") -> dict[str, Any]:
    about = {"fingerprint": box.name, "name": name, "step": step}
    return {"begin": {**about, "params": PARAMS, "tokens": {"train": "0" * 64}}}


def points(*steps: int) -> list[dict[str, Any]]:
    return [
        {"point": {"step": step, "time": 1_000 * step, "values": {"loss": 9.0 - step}, "sample": ""}} for step in steps
    ]


def write(box: Path, name: str, *lines: dict[str, Any]) -> Path:
    with (box / f"{name}.jsonl").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    return box / f"{name}.jsonl"


def tracker(address: str, tmp_path: Path) -> Mlflow:
    return Mlflow(address, tmp_path)


def runs(address: str, box: Path) -> list[Any]:
    client = mlflow.MlflowClient(address)
    experiment = client.get_experiment_by_name("train-gpt")
    query = f"tags.training_fingerprint = '{box.name}'"
    return list(client.search_runs([experiment.experiment_id], query)) if experiment else []


def steps(address: str, run: Any, name: str = "loss") -> list[int]:
    return [each.step for each in mlflow.MlflowClient(address).get_metric_history(run.info.run_id, name)]


def test_a_killed_training_goes_on_in_its_run(proxied: tuple[str, Plan], box: Path, tmp_path: Path) -> None:
    """Its second part, of another flow run, repeats the steps since the checkpoint, at other moments."""
    address, _ = proxied
    write(box, "1", begin(box), *points(1, 3, 5))
    Sending(box, tracker(address, tmp_path)).send()
    (run,) = runs(address, box)
    assert (run.info.status, run.info.run_name, steps(address, run)) == ("FAILED", "gentle-phoenix", [1, 3, 5])
    assert run.data.params == {"model.n_layer": "2", "train.steps": "9"}
    shutil.rmtree(box)  # as on another machine, where only the checkpoint is
    box.mkdir()
    write(box, "2", begin(box, 2, "calm-fox"), *points(4, 6, 9), END)
    Sending(box, tracker(address, tmp_path)).send()
    (run,) = runs(address, box)
    assert (run.info.status, run.data.tags["model_sha256"], steps(address, run)) == ("FINISHED", "abc", [1, 3, 5, 6, 9])
    assert run.info.run_name == run.data.tags["flow_run_name"] == "calm-fox"  # by which the lab finds it
    assert not box.exists()
    box.mkdir()
    write(box, "3", begin(box), *points(1))  # trained again from scratch
    Sending(box, tracker(address, tmp_path)).send()
    assert sorted(steps(address, each) for each in runs(address, box)) == [[1], [1, 3, 5, 6, 9]]


@pytest.mark.parametrize("fault", ["500", "drop"])
def test_what_is_not_answered_is_sent_again_once(
    proxied: tuple[str, Plan], box: Path, tmp_path: Path, fault: Fault
) -> None:
    address, plan = proxied
    write(box, "1", begin(box), *points(*range(1, 70)), END)
    sending = Sending(box, tracker(address, tmp_path))
    for request in ("runs/create", "runs/log-batch", "runs/log-inputs", "runs/update"):
        plan.set(fault, f"POST .*{request}", times=1)
        with pytest.raises(UserError, match="does not answer"):
            sending.send()
        assert len(plan.struck) == 1
    sending = Sending(box, tracker(address, tmp_path))  # the process may have been killed too
    sending.send()
    (run,) = runs(address, box)
    assert (run.info.status, steps(address, run)) == ("FINISHED", list(range(1, 70)))


def test_a_tracker_that_is_away_costs_one_warning(
    proxied: tuple[str, Plan], box: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox = write(box, "1", begin(box), *points(1), END)
    write(box, "0", begin(box), *points(1, 2))
    follow("mlflow", tracker("http://127.0.0.1:1", tmp_path), outbox)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("warning: mlflow is told later how this run goes: the MLflow registry http://127.0.0.1:1 ")
    send_left("mlflow", Paths(tmp_path), proxied[0], tmp_path)
    assert [steps(proxied[0], run) for run in runs(proxied[0], box)] == [[1, 2]]
    assert not box.exists()


def test_an_outbox_that_is_written_stays(proxied: tuple[str, Plan], box: Path, tmp_path: Path) -> None:
    """What a sender sees of its trainer: its lines, the torn ones once they are whole, and what the machine does."""
    outbox = write(box, "1", begin(box), *points(1))
    with outbox.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        send_left("mlflow", Paths(tmp_path), proxied[0], tmp_path)
        assert runs(proxied[0], box) == []
        sending = Sending(box, tracker(proxied[0], tmp_path))
        sending.send()
        text = json.dumps({"point": {"step": 2, "time": 2000, "values": {"loss": 1.0}, "sample": "To be"}}) + "\n"
        for part in (text[:9], text[9:]):
            file.write(part)
            file.flush()
            assert sending.look(outbox)
            sending.send()
        assert not sending.look(outbox)
        (run,) = runs(proxied[0], box)
        assert run.info.status == "RUNNING" and outbox.exists()
        assert steps(proxied[0], run) == [1, 2]
        assert steps(proxied[0], run, "system/cpu_utilization_percentage") == [2]
        client = mlflow.MlflowClient(proxied[0])
        assert [each.path for each in client.list_artifacts(run.info.run_id, "samples")] == [
            "samples/step-000000002.txt"
        ]


def test_a_sender_whose_trainer_was_killed_lets_go_of_its_output(tmp_path: Path) -> None:
    """Whoever reads the trainer's output, such as `| tee`, waits until nobody can write there any more."""
    began = "import sys, time; from pathlib import Path; from gptcore.tracking.outbox import Outbox"
    script = f"{began}; box = Outbox('mlflow', Path('outbox')); print('began', flush=True); time.sleep(60)"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}
    trainer = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert trainer.stdout and trainer.stdout.readline() == "began\n"
    trainer.kill()
    assert trainer.communicate(timeout=20) == ("", None)
    assert trainer.returncode == -signal.SIGKILL


def test_a_baseline_is_a_run_beside_its_models(proxied: tuple[str, Plan], box: Path, tmp_path: Path) -> None:
    """Under the same metrics, so that both curves are in one chart; the tags that lead to a version are not its own."""
    first = begin(box)
    end = {"end": "FINISHED", "tags": {"baseline_sha256": "abc"}}
    write(box, "1", {"begin": {**first["begin"], "role": "baseline"}}, *points(1, 2), end)
    Sending(box, tracker(proxied[0], tmp_path)).send()
    (run,) = runs(proxied[0], box)
    assert (run.info.run_name, run.data.tags["role"], steps(proxied[0], run)) == (
        "gentle-phoenix baseline", "baseline", [1, 2],
    )  # fmt: skip
    assert not {"flow_run_name", "model_sha256"} & run.data.tags.keys()
