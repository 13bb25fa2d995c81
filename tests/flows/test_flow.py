"""One cache for the flow and `dvc repro`, workspaces, and the terminal output."""

import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from flows.choices import FIELDS, with_fields
from flows.terminal import main
from flows.train_gpt import train_gpt
from gptcore.config.presets import groups
from gptcore.errors import UserError
from tests.support import scratch
from tests.support.command import run_command

CACHED_RUN = """
import sys
from flows.train_gpt import train_gpt
print(train_gpt())
print({"torch", "mlflow"} & set(sys.modules))
"""
THE_SAME = """
from flows.train_gpt import train_gpt
print(train_gpt(["train.steps=40"], promotion=False))
"""
STAGES = ["download", "start", "tokenize", "train", "baseline", "evaluate"]


def verdicts(report: str) -> list[str]:
    """`train Cached up to date` of each stage's row."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.splitlines() if line.startswith("|")]
    return [" ".join(row) for row in rows if row[0] in STAGES]


def experiments(project: Path) -> dict[str, Any]:
    """Each experiment's name -> its data from `dvc exp show`."""
    shown = json.loads(scratch.run(project, "dvc", "exp", "show", "--json"))
    found = [each for commit in shown for each in commit.get("experiments") or []]
    return {each["name"]: each["revs"][0]["data"] for each in found}


def test_flow_then_flow_then_dvc(finished: Path) -> None:
    lock, status = (finished / "dvc.lock").read_text(), scratch.run(finished, "git", "status", "--short")
    train_gpt()
    report = scratch.run(finished, sys.executable, "-c", CACHED_RUN)
    assert verdicts(report) == [f"{stage} Cached up to date" for stage in STAGES]
    assert "gpt version 1 is the champion: its 2.0500 bits per byte beat" in report
    assert report.splitlines()[-1] == "set()"  # each import takes 2 s
    assert (finished / "dvc.lock").read_text() == lock
    assert scratch.run(finished, "git", "status", "--short") == status
    assert "Data and pipelines are up to date" in scratch.run(finished, "dvc", "repro")
    ((_, experiment),) = experiments(finished).items()  # from the first run; the second ran nothing and adds none
    metrics = experiment["metrics"]["data/evaluation/metrics.json"]["data"]
    assert metrics["model"]["bits_per_byte"] == 2 + 1 / scratch.STEPS


def test_dvc_then_flow(project: Path) -> None:
    scratch.dvc(project, "repro")
    assert verdicts(train_gpt(promotion=False)) == [f"{stage} Cached up to date" for stage in STAGES]


def test_one_run_twice_at_once(project: Path) -> None:
    """Two clones side by side, which would train the same, train once."""
    (project / "code.py").write_text("edited = 'not committed'\n")
    scratch.dvc(project, "repro", "tokenize")
    before = scratch.run(project, "git", "status", "--short"), (project / "dvc.lock").read_bytes()
    commands = (scratch.flow_command("train.steps=40"), [sys.executable, "-c", THE_SAME])
    runs = [scratch.start(project, *command) for command in commands]
    outputs = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], "\n".join(outputs)
    assert not any("dvc exp diff" in output for output in outputs)  # it would show nothing: no dvc.lock is committed
    assert all("restored from run-cache" in output for output in outputs)  # so the uncommitted edit travelled
    steps = sorted(each["params"]["params.yaml"]["data"]["train"]["steps"] for each in experiments(project).values())
    assert steps == [40, 40]
    assert scratch.steps_taken(project) == list(range(1, 41))
    assert any("another run is doing just this" in output for output in outputs)
    assert before == (scratch.run(project, "git", "status", "--short"), (project / "dvc.lock").read_bytes())
    assert not (project / "data/model").exists()
    assert list((project / "data/scratch/workspaces").iterdir()) == []


def test_workspace_of_a_failed_run_is_kept_and_told(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UserError, match="bad luck"):
        train_gpt([f"train.steps={scratch.STEPS_FAIL}"])
    (kept,) = (project / "data/scratch/workspaces").iterdir()
    assert f"the workspace is kept: {kept}" in caplog.text
    assert "bad luck" in scratch.run(kept, "dvc", "repro", code=255)


def test_wrong_override_is_one_line_and_nothing_made(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    assert run_command(monkeypatch, "model=huge", main=lambda: main(train_gpt)) == 2
    (line,) = "".join(capfd.readouterr()).splitlines()
    assert line.startswith("error: ")
    assert not (project / "data").exists()


def test_terminal_ends_with_the_mistake_and_shows_no_traceback(project: Path) -> None:
    scratch.set_steps(project, scratch.STEPS_FAIL)
    output = scratch.run(project, *scratch.flow_command(), code=2)
    assert output.splitlines()[-1] == "error: train: 13 steps bring bad luck; take 14"
    assert "Traceback" not in output
    assert "Retry" not in output


def test_outside_a_checkout(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no dvc\.yaml .* root folder"):
        train_gpt()


def test_form_in_the_ui_describes_overrides() -> None:
    field = train_gpt.parameters.model_dump()["properties"]["overrides"]
    assert field["type"] == "array"
    assert field["items"] == {"type": "string"}
    assert field["default"] == []
    assert "train.steps=200" in field["description"]


def test_form_in_the_ui_has_the_presets_as_choices() -> None:
    """And the ranges of the numbers; all may stay empty."""
    fields = train_gpt.parameters.model_dump()["properties"]
    for group in ("model", "data", "optim"):
        presets = groups(scratch.CHECKOUT / "conf")[group]
        assert fields[group]["enum"] == [fields[group]["default"], *presets], "flows/choices.py lists them"
    assert fields["steps"]["anyOf"][0] == {"type": "integer", "exclusiveMinimum": 0, "maximum": 999_999_999}


def test_fields_are_overrides() -> None:
    assert {*FIELDS} < {*train_gpt.parameters.properties}
    fields = {"model": "gpt2-124m", "data": "params.yaml", "steps": 3, "seed": None}
    given = ["train.steps=3", "gate.alpha=0.1"]
    assert with_fields(given, fields) == ["model=gpt2-124m", *given]
    said = "train.steps is set twice, `train.steps=4` by its field and `train.steps=3` by an override; keep one"
    with pytest.raises(UserError, match=f"^{said}$"):
        with_fields(["train.steps=3"], {"steps": 4})


def test_the_end_of_a_flow_does_not_wait_for_its_heartbeat(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    beating, join, awaited = list[threading.Thread](), threading.Thread.join, list[threading.Thread]()

    def nothing() -> None:
        beating.extend(set(threading.enumerate()) - before)

    def recorded(thread: threading.Thread, timeout: float | None = None) -> None:
        awaited.append(thread)
        join(thread, timeout)

    before = set(threading.enumerate())
    monkeypatch.setattr(threading.Thread, "join", recorded)
    flow(nothing)()
    assert beating and not set(beating) & set(awaited)
