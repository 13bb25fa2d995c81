"""A stage as a command: what it says to arguments, to a wrong environment and to a folder that cannot be written."""

import sys
from pathlib import Path

import pytest

from gptcore.stages.run_stage import run_stage
from gptcore.stages.train import train
from tests.support.engine import run_stage_here


@pytest.mark.parametrize(("argument", "code", "said"), [
    ("--help", 0, "data/tokens -> data/model: train the model"),
    ("train.steps=3", 2, "unrecognized arguments: train.steps=3"),
])  # fmt: skip
def test_a_stage_takes_no_arguments(
    argument: str,
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", argument])
    with pytest.raises(SystemExit) as end:
        run_stage(train)
    assert end.value.code == code
    assert said in "".join(capfd.readouterr())
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_variable_ends_a_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GPTCORE_CHEKPOINTS", "s3://bucket")
    assert run_stage_here("download", tmp_path) == 2
    said = (
        "error: download: the environment variable GPTCORE_CHEKPOINTS is unknown; did you mean GPTCORE_CHECKPOINTS?\n"
    )
    assert capfd.readouterr().err == said


def test_a_file_in_place_of_a_folder_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "params.yaml").write_bytes((Path(__file__).parents[2] / "params.yaml").read_bytes())
    (tmp_path / "data").touch()
    assert run_stage_here("tokenize", tmp_path) == 2
    assert capfd.readouterr().err.startswith("error: tokenize: ")
