"""Several ranks give one result: batch shares, sharding, two hosts, crashes and stop signals. All on CPU with gloo."""

import csv
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gptcore.ranks.start import start_ranks
from gptcore.stages.run_stage import run_stage
from gptcore.stages.train import train
from tests.support.cluster import free_port
from tests.support.engine import REPOSITORY, TRAIN, make_workspace, run_stage_here, start_training
from tests.support.forked import Forked
from tests.support.patience import PATIENCE
from tests.support.ranks import (
    CASES,
    LENGTHS,
    WRAPPINGS,
    Wrapping,
    evaluated,
    name_of,
    trained,
    wrapped,
)
from tests.support.scratch import wait_until

pytestmark = pytest.mark.slow

STEPS = 60


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of two ranks for every case of tests/support/ranks.py."""
    folder = tmp_path_factory.mktemp("ranks")
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = [
        Forked("tests.support.ranks", folder, {**os.environ, **world, "RANK": rank, "LOCAL_RANK": rank}, str(folder))
        for rank in "01"
    ]
    assert [each.communicate(timeout=PATIENCE)[0] for each in ranks] == ["", ""]
    assert [each.returncode for each in ranks] == [0, 0]
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_are_one_within_float_order(two_ranks: Path, case: str) -> None:
    """Three rows over two ranks, micro-batches, a resume midway: losses, weights and moments agree."""
    together, alone = load_file(two_ranks / f"{case}.safetensors"), trained(case)
    assert together.keys() == alone.keys()
    for name, tensor in alone.items():
        torch.testing.assert_close(
            together[name], tensor, atol=2e-4, rtol=1e-3, equal_nan=True, msg=lambda text, n=name: f"{n}: {text}"
        )


@pytest.fixture(scope="module")
def plain() -> dict[int, torch.Tensor]:
    """By window: one rank, nothing recomputed, nothing compiled."""
    found = {window: wrapped(False, window, None) for window in (0, 8)}
    assert not torch.allclose(found[0], found[8], atol=2e-4)
    return found


@pytest.mark.parametrize("wrapping", WRAPPINGS, ids=name_of)
def test_whatever_wraps_the_blocks_the_weights_are_the_same(
    two_ranks: Path, plain: dict[int, torch.Tensor], wrapping: Wrapping
) -> None:
    ranks, recomputes, window, compiler = wrapping
    if ranks == "one":
        found = wrapped(recomputes, window, compiler)
    else:
        found = load_file(two_ranks / "wrapped.safetensors")[name_of(wrapping)]
    torch.testing.assert_close(found, plain[window], atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize("n_tokens", LENGTHS)
def test_two_ranks_evaluate_as_one(two_ranks: Path, n_tokens: int) -> None:
    """Every window, document and position is counted once, in the order of one rank; a rank may have no window."""
    together, alone = load_file(two_ranks / f"evaluated-{n_tokens}.safetensors"), evaluated(n_tokens)
    assert together.keys() == alone.keys()
    for name, sums in alone.items():
        torch.testing.assert_close(together[name], sums, atol=1e-5, rtol=1e-6, msg=lambda text, n=name: f"{n}: {text}")


def test_fewer_rows_than_ranks_get_one_line_on_each(two_ranks: Path) -> None:
    lines = {path.read_text() for path in two_ranks.glob("refused-*")}
    assert lines == {"a batch of 1 sequences is too small for 2 ranks; raise batch_tokens or set GPTCORE_RANKS=1"}


def test_more_ranks_than_devices_get_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(make_workspace(tmp_path / "many"))
    monkeypatch.setenv("GPTCORE_RANKS", "5000")
    monkeypatch.setattr(sys, "argv", ["train"])
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        run_stage(train, start_ranks)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: train: 5000 ranks are asked for and this machine has ")


def workspace(root: Path) -> Path:
    return make_workspace(root, train={**TRAIN, "steps": STEPS, "batch_tokens": 48})


def curve(root: Path) -> list[float]:
    with (root / "data/model/curve.csv").open() as file:
        return [float(row[key]) for row in csv.DictReader(file) for key in ("train_loss", "val_loss")]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    root = workspace(tmp_path_factory.mktemp("uninterrupted") / "root")
    assert run_stage_here("train", root) == 0
    return curve(root)


def wait_for_checkpoint(root: Path) -> None:
    wait_until(lambda: any(root.glob("data/scratch/train/*/step-*")))


def process_of_rank(root: Path, rank: int) -> int:
    """The process id of `rank` in `root`."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == root and f"RANK={rank}".encode() in (
                process / "environ"
            ).read_bytes().split(b"\0"):
                return int(process.name)
        except OSError:
            continue  # it has exited, or belongs to another user
    pytest.fail(f"no process is rank {rank}")


def start_two(root: Path, **environment: str) -> Forked:
    return start_training(root, GPTCORE_RANKS="2", OMP_NUM_THREADS="1", **environment)


def test_a_killed_rank_takes_the_others_down_and_one_rank_goes_on(tmp_path: Path, uninterrupted: list[float]) -> None:
    root = workspace(tmp_path / "killed")
    process = start_two(root)
    wait_for_checkpoint(root)
    os.kill(process_of_rank(root, 1), signal.SIGKILL)
    output, _ = process.communicate(timeout=PATIENCE)
    said = [line for line in output.splitlines() if not line.startswith("train ")]  # without progress lines
    assert process.returncode == 128 + signal.SIGKILL
    assert said == [
        "error: train: rank 1 died (signal 9); the others were stopped; run it again to go on from the last checkpoint"
    ]
    assert run_stage_here("train", root) == 0
    assert curve(root) == pytest.approx(uninterrupted, abs=1e-3)


def test_a_stop_signal_that_comes_twice_stops_all_ranks_at_one_step(tmp_path: Path, uninterrupted: list[float]) -> None:
    root = workspace(tmp_path / "stopped")
    process = start_two(root, GPTCORE_SHARDING="fsdp")
    wait_for_checkpoint(root)
    process.send_signal(signal.SIGINT)
    for rank in (0, 1):
        os.kill(process_of_rank(root, rank), signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 75 and output.count("run it again to go on") == 1, output
    assert "Traceback" not in output and "error" not in output
    assert run_stage_here("train", root) == 0
    assert curve(root) == pytest.approx(uninterrupted, abs=1e-3)


def start_hosts(roots: list[Path]) -> list[Forked]:
    """Start torchrun on two hosts that share only a network: here loopback."""
    options = ["--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    ours = {"PYTHONPATH": str(REPOSITORY), "GPTCORE_CHECKPOINT_SECONDS": "0.1", "GLOO_SOCKET_IFNAME": "lo"}
    environment = {**os.environ, **ours, "OMP_NUM_THREADS": "1"}
    command = [*options, "-m", "gptcore.stages.train"]
    return [
        Forked("torch.distributed.run", root, environment, f"--node-rank={rank}", *command)
        for rank, root in enumerate(roots)
    ]


def test_two_hosts_end_together_and_go_on_together(tmp_path: Path, uninterrupted: list[float]) -> None:
    roots = [workspace(tmp_path / "host0"), tmp_path / "host1"]
    shutil.copytree(roots[0], roots[1])
    hosts = start_hosts(roots)
    wait_for_checkpoint(roots[0])
    os.kill(process_of_rank(roots[1], 1), signal.SIGKILL)
    outputs = [host.communicate(timeout=PATIENCE)[0] for host in hosts]
    assert "error: train: rank 0 lost another rank, and ends; run it again to go on" in outputs[0], outputs[0]
    hosts = start_hosts(roots)
    outputs = [host.communicate(timeout=PATIENCE)[0] for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], outputs
    assert "train: resumed at step" in outputs[0] and "resumed" not in outputs[1]
    assert curve(roots[0]) == pytest.approx(uninterrupted, abs=1e-3)
    assert not (roots[1] / "data/model").exists()
