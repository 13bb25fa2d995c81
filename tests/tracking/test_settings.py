"""Who is told of a training, and that it is none of its inputs."""

import pytest
from pydantic import ValidationError

from gptcore.config.settings import Settings
from tests.support.closure import code_of


def test_of_its_code_only_the_outbox_is_an_input_of_the_stage() -> None:
    assert [path for path in code_of("train") if "tracking" in path] == ["gptcore/tracking/outbox.py"]


@pytest.mark.parametrize(
    ("trackers", "uri", "names"),
    [
        ("", "", []),
        ("", "sqlite:///mlflow.db", []),
        ("", "https://mlflow.example.org", ["mlflow"]),
        ("none", "https://mlflow.example.org", []),
        ("mlflow", "", ["mlflow"]),
        ("wandb,mlflow,wandb", "", ["wandb", "mlflow"]),
    ],
)
def test_which_trackers(monkeypatch: pytest.MonkeyPatch, trackers: str, uri: str, names: list[str]) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert Settings(trackers=trackers).tracker_names() == names


@pytest.mark.parametrize("given", ["mlfow", "mlflow,", "none,mlflow"])
def test_an_unknown_tracker_is_refused(given: str) -> None:
    with pytest.raises(ValidationError, match="there is no tracker"):
        Settings(trackers=given)
