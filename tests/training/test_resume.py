"""An interrupted run ends bit-identical to an uninterrupted one: weights, optimizer, random state, curve.

Runs are killed at random steps and during a write, resumed on another machine through S3, and run with a full disk.
"""

import csv
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gptcore.evaluation.losses import window_losses
from gptcore.files import sha256_file
from gptcore.model.folder import load_export
from gptcore.tokens.token_files import open_tokens
from tests.support.engine import CURVE, MODERN, MUON, TRAIN, begin_with, make_workspace, start_training, train
from tests.support.forked import Forked
from tests.support.patience import PATIENCE
from tests.support.s3 import BUCKET, s3_server
from tests.support.small_disk import fill
from tests.support.weights import random_model

pytestmark = pytest.mark.slow

RESULTS = ("export/model.safetensors", "best/model.safetensors", "curve.csv", "samples.md", "metrics.json")


def workspace(root: Path) -> Path:
    """A workspace with the same run identity each time; on a separate disk it is the same run on another machine."""
    # the learning rates rise to the end, far beyond what helps, so the best weights are not the last ones
    rates = {"matrix_learning_rate": 0.1, "embedding_learning_rate": 1.0, "head_learning_rate": 0.3}
    optim = {**MUON, "cooldown_fraction": 0.0, "warmup_steps": 240, **rates}
    made = make_workspace(
        root,
        train={**TRAIN, "steps": 240},
        model={**MODERN, "dropout": 0.1},
        optim=optim,
        curve={**CURVE, "points": 25},
    )
    return begin_with(made, random_model(MODERN))


def start(root: Path, **environment: str) -> Forked:
    return start_training(root, "tests.support.keep_state", **{"GPTCORE_CHECKPOINT_SECONDS": "0.05", **environment})


def finish(process: Forked) -> str:
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    return output


def assert_same(root: Path, other: Path) -> None:
    for name in RESULTS:
        assert (root / "data/model" / name).read_bytes() == (other / "data/model" / name).read_bytes(), name
    ours, theirs = load_file(root / "final.safetensors"), load_file(other / "final.safetensors")
    assert ours.keys() == theirs.keys() and any(name.startswith("optimizer/") for name in ours)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def pause_when(process: Forked, condition: Callable[[], bool]) -> None:
    """Stop the process at a moment when the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        if condition():
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.02)  # until it has stopped
            if condition():
                return
            process.send_signal(signal.SIGCONT)
        time.sleep(0.002)
    pytest.fail(f"it did not come to that; exit code {process.poll()}")


def last_step(folder: Path) -> int:
    return max((int(each.name.removeprefix("step-")) for each in folder.glob("train/*/step-*")), default=0)


def is_writing(folder: Path) -> bool:
    return any(folder.glob("train/*/.step-*"))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = workspace(tmp_path_factory.mktemp("uninterrupted"))
    finish(start(root, GPTCORE_CHECKPOINT_SECONDS="1000"))
    return root


def test_the_best_weights_are_those_of_the_lowest_validation_loss(uninterrupted: Path) -> None:
    with (uninterrupted / "data/model/curve.csv").open() as file:
        val_losses = [float(row["val_loss"]) for row in csv.DictReader(file)]
    assert min(val_losses) < val_losses[-1]
    tokens = open_tokens(uninterrupted / "data/tokens", "val")
    for name, expected in (("best", min(val_losses)), ("export", val_losses[-1])):
        model, _ = load_export(uninterrupted / "data/model" / name)
        losses, counts = window_losses(model, tokens, CURVE["block_size"], CURVE["windows"])
        assert losses.sum() / counts.sum() == pytest.approx(expected, rel=1e-9)


def test_killed_at_random_steps_and_while_writing(tmp_path: Path, uninterrupted: Path) -> None:
    root = workspace(tmp_path / "killed")
    scratch, pauses, last = root / "data/scratch", random.Random(1), 0
    for writing in (True, False, True):
        process = start(root)
        pause_when(process, lambda: last_step(scratch) > last)  # noqa: B023
        process.send_signal(signal.SIGCONT)
        time.sleep(pauses.uniform(0, 0.1))
        if writing:
            pause_when(process, lambda: is_writing(scratch))
        process.kill()
        process.communicate()
        assert is_writing(scratch) or not writing
        last = last_step(scratch)
        assert not (root / "final.safetensors").exists(), "killed too late to test anything"
    assert "train: resumed at step" in finish(start(root))
    assert_same(root, uninterrupted)
    assert not list(scratch.glob("train/*"))


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGKILL, -9, id="lost", marks=pytest.mark.load),
        pytest.param(signal.SIGTERM, 75, id="evicted"),
    ],
)
def test_another_machine_goes_on_from_s3(number: int, code: int, tmp_path: Path, uninterrupted: Path) -> None:
    with s3_server() as server:
        environment = {**server.environment, "GPTCORE_CHECKPOINTS": f"s3://{BUCKET}/runs"}
        process = start(workspace(tmp_path / "one"), **environment)
        pause_when(process, lambda: sum("SHA256SUMS" in each for each in server.objects()) > 2)
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        process.communicate()
        assert process.returncode == code
        another = workspace(tmp_path / "another")
        assert "train: resumed at step" in finish(start(another, **environment))
        assert_same(another, uninterrupted)
        assert server.objects() == [] and not (another / "data/scratch/train").exists()


def test_a_server_that_is_gone_costs_a_warning(tmp_path: Path, uninterrupted: Path) -> None:
    root = workspace(tmp_path / "gone")
    with s3_server() as server:
        process = start(root, **server.environment, GPTCORE_CHECKPOINTS=f"s3://{BUCKET}/runs")
        pause_when(process, lambda: any("SHA256SUMS" in each for each in server.objects()))
    process.send_signal(signal.SIGCONT)
    output = finish(process)
    assert output.count(f"could not be written to s3://{BUCKET}/runs/train/") == 1 and "Traceback" not in output
    assert "training goes on" in output and "could not be removed" in output
    assert_same(root, uninterrupted)


def test_a_disk_that_is_full_costs_a_warning(tmp_path: Path, small_disk: Path, uninterrupted: Path) -> None:
    """The run ends as usual, and a killed run could have resumed from the earlier checkpoint."""
    root = workspace(tmp_path / "full")
    process = start(root, GPTCORE_CHECKPOINTS=str(small_disk))
    pause_when(process, lambda: last_step(small_disk) > 0 and not is_writing(small_disk))
    fill(small_disk)
    before = shutil.copytree(small_disk, tmp_path / "before")
    process.send_signal(signal.SIGCONT)
    output = finish(process)
    assert output.count(f"could not be written to {small_disk}/train/") == 1 and "No space left" in output
    assert_same(root, uninterrupted)
    again = workspace(tmp_path / "again")
    assert "train: resumed at step" in finish(start(again, GPTCORE_CHECKPOINTS=str(before)))
    assert_same(again, uninterrupted)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
def test_killed_on_a_gpu_it_ends_the_same_to_the_bit(tmp_path: Path) -> None:
    """GPU results are bit-identical only with GPTCORE_DETERMINISTIC."""
    environment = {"GPTCORE_DETERMINISTIC": "1", "GPTCORE_DEVICE": "cuda"}
    found = []
    for name in ("whole", "killed"):
        root = make_workspace(tmp_path / name, train={**TRAIN, "steps": 200, "precision": "auto"})
        if name == "killed":
            process = start_training(root, **environment)
            while not list(root.glob("data/scratch/train/*/step-*")) and process.poll() is None:
                time.sleep(0.02)
            process.kill()
            process.communicate()
        code, output = train(root, **environment)
        assert code == 0 and ("resumed" in output) == (name == "killed"), output
        found.append(sha256_file(root / "data/model/export/model.safetensors"))
    assert found[0] == found[1]
