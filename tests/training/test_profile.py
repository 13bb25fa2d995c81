"""`gptcore profile` on a small model: consistent figures, and a trace that a viewer can open."""

import json
import subprocess
import sys
from pathlib import Path

from gptcore.config.paths import Paths
from gptcore.training.hardware import peak_flops_per_second
from gptcore.training.profile import profile_steps
from tests.support.engine import TRAIN, make_workspace


def test_the_figures_hang_together(tmp_path: Path) -> None:
    root = make_workspace(tmp_path / "workspace")
    found = profile_steps(Paths(root), 5, tmp_path / "trace.json")
    assert found.tokens_per_second == TRAIN["batch_tokens"] / found.step_seconds
    assert 0 < found.flops_per_second < found.matmul_flops_per_second
    assert abs(sum(each.share for each in found.operations) - 1) < 1e-6
    shares = [each.share for each in found.operations]
    assert shares == sorted(shares, reverse=True)
    assert any("mm" in each.name for each in found.operations)
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


def test_the_command_lists_ten_operations(tmp_path: Path) -> None:
    root = make_workspace(tmp_path / "workspace")
    done = subprocess.run([sys.executable, "-m", "gptcore", "profile"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = done.stdout.split("operation\n")[1].split("\n\n")[0]
    assert len(table.splitlines()) == 10
    assert (root / "data/scratch/profile.json").exists()
    refused = subprocess.run(
        [sys.executable, "-m", "gptcore", "profile", "--steps", "500"], cwd=root, capture_output=True, text=True
    )
    assert refused.returncode == 2 and "train.steps is 120" in refused.stderr


def test_a_gpu_is_known_by_its_name() -> None:
    assert peak_flops_per_second("NVIDIA H200") == 989e12
    assert peak_flops_per_second("NVIDIA A100-SXM4-80GB") == 312e12
    assert peak_flops_per_second("NVIDIA L40S") == 362e12
    assert peak_flops_per_second("a GPU of next year") is None
