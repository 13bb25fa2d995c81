"""`gptcore profile` on a small model: consistent figures, and a trace that a viewer can open."""

import json
from pathlib import Path

import pytest

from gptcore.config.paths import Paths
from gptcore.training.hardware import peak_flops_per_second
from gptcore.training.profile import profile_steps
from tests.support.command import run_command
from tests.support.engine import TRAIN, make_workspace


def test_the_figures_hang_together(tmp_path: Path) -> None:
    root = make_workspace(tmp_path / "workspace")
    found = profile_steps(Paths(root), 5, tmp_path / "trace.json")
    assert found.tokens_per_second == TRAIN["batch_tokens"] / found.step_seconds
    assert 0 < found.flops_per_second < found.matmul_flops_per_second
    assert abs(sum(each.share for each in found.operations) - 1) < 1e-6
    assert abs(sum(each.share for each in found.parts) - 1) < 1e-6
    assert all(each.seconds_per_step > 0 for each in found.parts)  # torch's names for them have not changed
    shares = [each.share for each in found.operations]
    assert shares == sorted(shares, reverse=True)
    assert any("mm" in each.name for each in found.operations)
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


def test_the_command_lists_ten_operations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_workspace(tmp_path / "workspace")
    monkeypatch.chdir(root)
    assert run_command(monkeypatch, "profile") == 0
    table = capsys.readouterr().out.split("operation\n")[1].split("\n\n")[0]
    assert len(table.splitlines()) == 10
    assert (root / "data/scratch/profile.json").exists()
    assert run_command(monkeypatch, "profile", "--steps", "500") == 2
    assert "train.steps is 120" in capsys.readouterr().err


GPUS = {
    "NVIDIA B200": 2250, "NVIDIA GB200": 2500, "NVIDIA H200": 989, "NVIDIA GH200 480GB": 989,
    "NVIDIA H100 80GB HBM3": 989, "NVIDIA H100 PCIe": 756, "NVIDIA H100 NVL": 835, "NVIDIA A100-SXM4-80GB": 312,
    "A100-PCIE-40GB": 312, "NVIDIA A10": 125, "NVIDIA A10G": 70, "NVIDIA L4": 121, "NVIDIA L40": 181,
    "NVIDIA L40S": 362, "NVIDIA RTX A6000": 155, "NVIDIA GeForce RTX 4090": 165, "Tesla V100-SXM2-16GB": 125,
    "Tesla T4": 65, "NVIDIA RTX A1000": None, "NVIDIA RTX A1000 Laptop GPU": None, "NVIDIA T400": None,
    "NVIDIA T4G": None, "NVIDIA H100 80GB HBM3 MIG 1g.10gb": None, "NVIDIA GeForce RTX 4090 Laptop GPU": None,
    "NVIDIA GeForce RTX 4090 D": None, "NVIDIA GeForce RTX 3090 Ti": None, "NVIDIA A100X": None, "NVIDIA H20": None,
    "NVIDIA RTX 6000 Ada Generation": None, "Quadro RTX 6000": None, "AMD Instinct MI300X": None,
}  # fmt: skip


@pytest.mark.parametrize(("name", "teraflops"), GPUS.items())
def test_a_gpu_is_known_by_the_words_of_its_name(name: str, teraflops: int | None) -> None:
    assert peak_flops_per_second(name) == (teraflops and teraflops * 1e12)
