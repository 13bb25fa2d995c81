"""Training as a process: killed, stopped or edited midway; the result is bit-identical."""

import csv
import json
import shutil
import signal
import time
from pathlib import Path

import mlflow
import psutil
import pytest
import torch

from gptcore.config.paths import Paths
from gptcore.config.settings import settings
from gptcore.evaluation.checkpoints import checkpoints
from gptcore.evaluation.config import EvaluateConfig
from gptcore.evaluation.measure import measure
from gptcore.evaluation.measured import Measured
from gptcore.files import sha256_file, write_json
from gptcore.tracking.trackers import send_left
from gptcore.training.state_store import clear_state_stores
from tests.support.engine import (
    CURVE,
    GPT2,
    LORA,
    MODERN,
    MUON,
    TRAIN,
    make_workspace,
    run_stage_here,
    start_training,
    train,
)
from tests.support.mlflow_server import mlflow_server
from tests.support.patience import PATIENCE

RESULTS = ("export/model.safetensors", "best/model.safetensors", "curve.csv", "samples.md", "metrics.json")


def hashes(root: Path) -> dict[str, str]:
    return {name: sha256_file(root / "data/model" / name) for name in RESULTS}


def wait_for_checkpoint(root: Path, process: object, after: int = 0) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:  # type: ignore[attr-defined]
        steps = [int(each.name.removeprefix("step-")) for each in (root / "data/scratch").glob("train/*/step-*")]
        if max(steps, default=0) > after:
            return
        time.sleep(0.01)
    pytest.fail("no checkpoint came")


def workspace(root: Path, **model: object) -> Path:
    optim = {**MUON, "gradient_clip": 0.0}  # as the default recipe has it
    return make_workspace(root, train={**TRAIN, "steps": 160}, model={**MODERN, "dropout": 0.1, **model}, optim=optim)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = workspace(tmp_path_factory.mktemp("uninterrupted"))
    code, output = train(root, GPTCORE_CHECKPOINT_SECONDS="1000")
    assert code == 0, output
    return hashes(root)


def test_its_state_stays_until_the_result_is_recorded(tmp_path: Path, uninterrupted: dict[str, str]) -> None:
    root, finished = workspace(tmp_path / "kept"), tmp_path / "finished"
    for resumes in (False, True):
        how = {"GPTCORE_CHECKPOINT_SECONDS": "0.1", "GPTCORE_KEPT_MODELS": "2"}
        code, output = train(root, **how, GPTCORE_FINISHED_STATES=str(finished))
        assert code == 0, output
        assert ("train: resumed at step " in output) == resumes
        assert hashes(root) == uninterrupted
    (kept,) = (root / "data/scratch/models/train").iterdir()
    assert [each.step for each in checkpoints(kept)] == [80, 160]
    assert checkpoints(kept)[-1].model_sha256 == uninterrupted["export/model.safetensors"]
    clear_state_stores(finished)
    assert list((root / "data/scratch/train").iterdir()) == []


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.load), signal.SIGTERM])
def test_a_stop_signal_leaves_a_checkpoint_and_exit_code_75(
    tmp_path: Path, uninterrupted: dict[str, str], number: signal.Signals
) -> None:
    root = workspace(tmp_path / "stopped")
    process = start_training(root)
    wait_for_checkpoint(root, process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 75 and "run it again to go on" in output and "Traceback" not in output
    code, output = train(root)
    assert code == 0 and "resumed" in output and hashes(root) == uninterrupted


def test_tracking_changes_nothing_and_loses_nothing(
    tmp_path: Path, uninterrupted: dict[str, str], mlflow_database: Path
) -> None:
    """Killed midway with its sender, the run in MLflow has each point of the whole training once."""
    root, md5 = workspace(tmp_path / "tracked"), "0123456789abcdef0123456789abcdef.dir"
    write_json(root / "dvc.lock", {"stages": {"tokenize": {"outs": [{"path": "data/tokens", "md5": md5}]}}})
    shutil.copy(mlflow_database, tmp_path)
    with mlflow_server(tmp_path / "mlflow.db", tmp_path / "served") as address:
        how = {"MLFLOW_TRACKING_URI": address, "GPTCORE_RUN_NAME": "gentle-phoenix", "GPTCORE_TRACKING_SECONDS": "0.1"}
        process = start_training(root, **how)
        wait_for_checkpoint(root, process)
        for each in [*psutil.Process(process.pid).children(), process]:
            each.kill()
        process.communicate()
        code, output = train(root, **how)
        assert code == 0 and "resumed" in output and "Traceback" not in output, output
        send_left("mlflow", Paths(root), address, tmp_path)  # nothing, unless the machine is too slow for its sender
        client = mlflow.MlflowClient(address)
        (run,) = client.search_runs([client.get_experiment_by_name("train-gpt").experiment_id])
        history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
        samples = [each.path for each in client.list_artifacts(run.info.run_id, "samples")]
    assert hashes(root) == uninterrupted
    assert not list((root / "data/scratch/tracking").rglob("*.jsonl"))
    assert (run.info.status, run.info.run_name) == ("FINISHED", "gentle-phoenix")
    assert run.data.tags["model_sha256"] == uninterrupted["export/model.safetensors"]
    assert run.data.params["train.steps"] == "160"
    assert [each.dataset.digest for each in run.inputs.dataset_inputs] == [md5]
    assert samples == ["samples/step-000000080.txt", "samples/step-000000160.txt"]
    steps = [each.step for each in history["loss"]]
    assert steps == sorted(set(steps)) and steps[0] == 1 and steps[-1] == 160
    assert [each.step for each in history["gradient_norm"]] == steps
    with (root / "data/model/curve.csv").open() as file:
        rows = [(int(row["step"]), float(row["val_loss"])) for row in csv.DictReader(file)]
    assert [(each.step, each.value) for each in history["val_loss"]] == rows
    known = {"learning_rate", "tokens_per_second", "skipped_batches", "peak_memory_megabytes"}
    assert known <= set(history)


def test_another_identity_starts_anew(tmp_path: Path) -> None:
    root = workspace(tmp_path / "changed")
    process = start_training(root)
    wait_for_checkpoint(root, process)
    process.kill()
    process.communicate()
    params = json.loads((root / "params.yaml").read_text())
    params["train"] |= {"seed": 8, "steps": 20}
    (root / "params.yaml").write_text(json.dumps(params))
    code, output = train(root)
    assert code == 0 and "resumed" not in output


def test_a_checkpoint_put_where_another_runs_belongs_is_refused(tmp_path: Path) -> None:
    root = workspace(tmp_path / "mixed")
    process = start_training(root)
    wait_for_checkpoint(root, process)
    process.kill()
    process.communicate()
    (folder,) = root.glob("data/scratch/train/*")
    params = json.loads((root / "params.yaml").read_text())
    params["model"]["n_layer"] = 3
    (root / "params.yaml").write_text(json.dumps(params))
    process = start_training(root)
    deadline = time.monotonic() + PATIENCE
    while len(others := [each for each in root.glob("data/scratch/train/*") if each != folder]) == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.communicate()
    shutil.rmtree(others[0])
    folder.rename(others[0])
    code, output = train(root)
    assert code == 2 and "belongs to another run (its model.n_layer is 2, this run's is 3)" in output
    assert "Traceback" not in output


def test_micro_batches_add_up_to_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = []
    for sequences in ("0", "3"):
        monkeypatch.setenv("GPTCORE_MICRO_BATCH", sequences)
        settings.cache_clear()
        root = make_workspace(tmp_path / sequences, train={**TRAIN, "steps": 20})
        assert run_stage_here("train", root) == 0
        losses.append(json.loads((root / "data/model/metrics.json").read_text())["val_loss"])
    assert losses[0] == pytest.approx(losses[1], abs=2e-4)


def test_baseline_gets_the_models_token_budget_and_evaluate_compares(tmp_path: Path) -> None:
    root = make_workspace(tmp_path / "compared")
    assert [run_stage_here(stage, root) for stage in ("train", "baseline", "evaluate")] == [0, 0, 0]
    metrics = json.loads((root / "data/evaluation/metrics.json").read_text())
    assert metrics["model"]["tokens"] == metrics["baseline"]["tokens"] == 120 * 128
    val = json.loads((root / "data/tokens/meta.json").read_text())["val"]
    counted = {"tokens": val["tokens"] - 1, "bytes": val["bytes"], "documents": 2, "prompt_tokens": 0}
    assert metrics["validation"] == counted
    intervals = json.loads((root / "data/evaluation/intervals.json").read_text())
    assert intervals["windows_per_block"] == 8  # two documents are too few to resample
    bits = intervals["difference"]["bits_per_byte"]
    assert bits["low"] < metrics["difference"]["bits_per_byte"] < bits["high"] < 0 < bits["standard_error"]
    difference = metrics["model"]["bits_per_byte"] - metrics["baseline"]["bits_per_byte"]
    assert metrics["difference"]["bits_per_byte"] == pytest.approx(difference)
    assert metrics["baseline_loss_reached"]["steps"] <= 120  # the modern recipe reaches it
    assert metrics["at_equal_time"]["seconds"] == min(metrics[each]["seconds"] for each in ("model", "baseline"))
    assert all((root / f"data/evaluation/{each}.png").read_bytes()[:4] == b"\x89PNG" for each in ("loss", "position"))
    with (root / "data/evaluation/position.csv").open() as file:
        assert sum(int(row["tokens"]) for row in csv.DictReader(file)) == val["tokens"] - 1
    kept = Measured.model_validate(json.loads((root / "data/evaluation/measured.json").read_text()))
    again = measure(
        root / "data/tokens", root / "data/model/export", EvaluateConfig(block_size=16, stride=16, tasks=())
    )
    assert again == kept.model_copy(update={"baseline": None})


def test_training_ends_where_the_target_is_reached(tmp_path: Path) -> None:
    root = make_workspace(tmp_path / "target", train={**TRAIN, "target_loss": 3.0})
    assert [run_stage_here(stage, root) for stage in ("train", "baseline", "evaluate")] == [0, 0, 0]
    with (root / "data/model/curve.csv").open() as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert [row["val_loss"] <= 3.0 for row in rows] == [False] * (len(rows) - 1) + [True]
    metrics = json.loads((root / "data/model/metrics.json").read_text())
    assert (
        metrics["steps"] == rows[-1]["step"] < 120 and metrics["tokens"] == rows[-1]["tokens"] == metrics["steps"] * 128
    )
    compared = json.loads((root / "data/evaluation/metrics.json").read_text())
    assert compared["model"]["tokens"] == metrics["tokens"] < compared["baseline"]["tokens"]


def test_a_baseline_of_too_many_steps_gets_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_workspace(tmp_path / "long", train={**TRAIN, "steps": 999_999_999})
    capsys.readouterr()
    assert run_stage_here("baseline", root) == 2
    assert "baseline.batch_tokens 64 makes 1,999,999,998 steps" in capsys.readouterr().err


BAD_PARAMS = {
    "train.stpes is unknown; known are start, start_sha256, seed, steps": {"train": {**TRAIN, "stpes": 3}},
    "model.n_layr is unknown; known are n_layer, n_head": {"model": {**GPT2, "n_layr": 3}},
    "train.steps: input should be a valid integer": {"train": {**TRAIN, "steps": "many"}},
    "batch_tokens 100 is not a multiple of block_size 16": {"train": {**TRAIN, "batch_tokens": 100}},
    "n_embd 32 is not a multiple of n_head 5": {"model": {**GPT2, "n_head": 5}},
    "train.precision float16 needs a CUDA GPU": {"train": {**TRAIN, "precision": "float16"}},
    "train.steps: input should be less than or equal to 999999999": {"train": {**TRAIN, "steps": 10**20}},
    "train.seed: input should be less than 18446744073709551616": {"train": {**TRAIN, "seed": 2**64}},
    "to train 5": {"model": {**GPT2, "n_layer": 1024, "n_embd": 1 << 16}},
    "curve.block_size 64 is longer than the block_size of train's model, 16": {"curve": {**CURVE, "block_size": 64}},
    "lora.rank 8 trains an adapter of train.start, and there is none": {"lora": {**LORA, "rank": 8}},
    "too long for": {"model": {**GPT2, "block_size": 16384}, "train": {**TRAIN, "batch_tokens": 16384}},
}


@pytest.mark.parametrize(("words", "sections"), BAD_PARAMS.items(), ids=BAD_PARAMS)
def test_bad_params_get_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, sections: dict[str, object]
) -> None:
    root = make_workspace(tmp_path / "bad", **sections)
    capsys.readouterr()
    assert run_stage_here("train", root) == 2
    said = capsys.readouterr()
    assert words in said.err and len((said.out + said.err).strip().splitlines()) == 1
    assert not (root / "data/model").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_missing_gpu_gets_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPTCORE_DEVICE", "cuda")
    assert run_stage_here("train", make_workspace(tmp_path / "gpu")) == 2
    assert capsys.readouterr().err.startswith("error: train: GPTCORE_DEVICE=cuda, but torch finds no GPU")
