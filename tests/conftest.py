"""Tests touch nothing of the machine but their own folders, and behave alike whatever the environment says."""

import os
import tempfile
from pathlib import Path

import pytest

FOLDER = pytest.StashKey[tempfile.TemporaryDirectory[str]]()
NOT_OURS = ("GPTCORE_", "PREFECT_", "MLFLOW_", "DVC_", "GIT_")


def pytest_configure(config: pytest.Config) -> None:
    """Prefect, MLflow, DVC and git read these when they start: before any test module is imported."""
    config.stash[FOLDER] = tempfile.TemporaryDirectory(prefix="gptcore-tests-")
    home = Path(config.stash[FOLDER].name)
    for name in [each for each in os.environ if each.startswith(NOT_OURS)]:
        del os.environ[name]
    (home / "gitconfig").write_text("[user]\n\tname = test\n\temail = test@example.org\n")
    os.environ |= {
        "PREFECT_HOME": str(home / "prefect"),
        "GIT_CONFIG_GLOBAL": str(home / "gitconfig"),
        "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc"),
        "DVC_SITE_CACHE_DIR": str(home / "dvc-site"),
    }


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[FOLDER].cleanup()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    needing = [item for item in items if item.get_closest_marker("gpu")]
    if not needing:
        return
    import torch

    if not torch.cuda.is_available():
        for item in needing:
            item.add_marker(pytest.mark.skip(reason="torch finds no GPU"))
