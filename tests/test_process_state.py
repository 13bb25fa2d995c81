"""No test finds what another has left in its process."""

import logging
import os
import random
import signal
import sys
from pathlib import Path
from types import ModuleType

import mlflow
import pytest
import torch

from gptcore.config.settings import settings
from tests.support.process_state import restored


def state() -> list[object]:
    loggers = logging.root.level, logging.root.manager.disable
    addresses = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    stops = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    program = [*sys.argv], [*sys.path], sys.modules["__main__"]
    computes = torch.get_num_threads(), torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
    return [dict(os.environ), Path.cwd(), addresses, loggers, stops, program, computes, settings().run_name]


def test_what_a_test_changes_is_as_it_was(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    assert {"given_back", "given_back_by_the_module"} <= {*request.fixturenames}  # of each test, before its own
    before = state()
    with restored():
        expected, names = torch.rand(1), random.random()
    with restored():
        assert torch.rand(1) == expected and random.random() != names
        os.environ |= {"GPTCORE_RUN_NAME": "left", "PATH": "nowhere"}
        del os.environ["TMPDIR"]
        os.chdir(tmp_path)
        mlflow.set_tracking_uri("http://127.0.0.1:1")
        mlflow.set_registry_uri("http://127.0.0.1:2")
        logging.root.setLevel(logging.root.level + 1)
        logging.disable(logging.INFO)
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        sys.argv.append("left")
        sys.path.append("left")
        sys.modules["__main__"] = ModuleType("left")
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(True)
        assert settings().run_name == "left"
        assert all(old != now for old, now in zip(before, state(), strict=True))
    assert state() == before
