"""Every `GPTCORE_*` variable is known by name; any other ends the process that starts with it."""

import re
import subprocess

import pytest

from gptcore.config.environment import VARIABLES, check_environment
from gptcore.config.settings import Settings
from gptcore.errors import UserError
from gptcore.tokens.workers import WorkerSettings
from tests.support.closure import ROOT


def test_the_list_has_every_name_in_the_repository() -> None:
    fields = [*Settings.model_fields, *WorkerSettings.model_fields]
    assert {f"GPTCORE_{field.upper()}" for field in fields} <= set(VARIABLES)
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    files = [ROOT / name for name in listed if not name.startswith("tests/")]
    texts = [path.read_bytes().decode("utf-8", "replace") for path in files if path.is_file()]  # pictures too
    assert {name for text in texts for name in re.findall(r"GPTCORE_[A-Z_]*[A-Z]", text)} == set(VARIABLES)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("GPTCORE_CHEKPOINTS", "GPTCORE_CHECKPOINTS"),
        ("GPTCORE_DEVCE", "GPTCORE_DEVICE"),
        ("gptcore_rank", "GPTCORE_RANKS"),
    ],
)
def test_a_misspelt_name_is_an_error_with_the_nearest(name: str, nearest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(UserError) as error:
        check_environment()
    assert str(error.value) == f"the environment variable {name} is unknown; did you mean {nearest}?"


def test_known_names_and_those_of_kubernetes_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "gptcore_device", "GPTCORE_UI_SERVICE_HOST", "GPTCORE_PORT_80_TCP_ADDR"):
        monkeypatch.setenv(name, "1")
    check_environment()
