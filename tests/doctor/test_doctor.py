"""`gptcore doctor`: one line for each thing that this machine has, and what to do about what is missing."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gptcore.doctor import checkout, installed, machine, servers
from gptcore.doctor.finding import Finding
from tests.support.closure import ROOT
from tests.support.cluster import free_port
from tests.support.command import run_command

PROJECT = ("pyproject.toml", "torch.lock", "requirements.lock", "params.yaml", "dvc.yaml")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a commit, its `.dvc` and what the locks say."""
    for name in PROJECT:
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    remote = store\n['remote \"store\"']\n    url = nowhere\n")
    for words in (["init"], ["add", "dvc.yaml"], ["commit", "--message", "a commit"]):
        subprocess.run(["git", *words, "--quiet"] if words[0] != "add" else ["git", *words], cwd=tmp_path, check=True)
    return tmp_path


def test_what_is_missing_is_named_with_its_remedy(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No name for commits, a server that is not there, a wrong parameter, a remote in which nothing is."""
    (project / "params.yaml").write_text("train:\n  steps: many\n")
    monkeypatch.chdir(project)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    port = free_port()
    monkeypatch.setenv("PREFECT_API_URL", f"http://me:secret@127.0.0.1:{port}/api")
    assert run_command(monkeypatch, "doctor", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["can_train"] is False
    found = {each["what"]: each for each in told["findings"]}
    assert [name for name, each in found.items() if each["state"] == "missing"] == [
        "identity",
        "params.yaml",
        "Prefect",
    ]
    assert "user.email" in found["identity"]["remedy"]
    assert found["Prefect"]["found"] == f"no answer at http://***@127.0.0.1:{port}/api: nothing listens there"
    assert found["DVC remote"] == {
        "what": "DVC remote", "state": "note", "found": "there is nothing at store yet",
        "remedy": "`dvc push --run-cache` fills it, or says what is wrong",
    }  # fmt: skip


def test_here_a_training_can_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each finding is a line of its own, aligned. DVC's program is left out: the test above starts it."""
    monkeypatch.setattr(checkout, "remote", lambda _: Finding("DVC remote", "ok", "none"))
    monkeypatch.chdir(ROOT)
    assert run_command(monkeypatch, "doctor") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[:4]] == ["Python", "packages", "extras", "torch"]
    assert all(line.split()[0] in ("ok", "note") and line[8] == " " and line[9] != " " for line in lines)


def test_packages_against_the_locks(project: Path) -> None:
    with (project / "requirements.lock").open("a") as lock:
        lock.write(
            "prefect==1.0.0 \\\n    --hash=sha256:00\nsurely-not==1.0 ; sys_platform == 'win32' \\\n    --hash=00\n"
        )
    (differing, *_) = installed.against_the_lock(project)
    assert (differing.state, differing.found) == ("note", "not of the locked version: prefect==1.0.0")
    known = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(known.replace('"pydantic>=2.11",', '"no-such-package>=2",'))
    (absent, *_) = installed.against_the_lock(project)
    assert (absent.state, absent.found) == ("missing", "not installed: no-such-package>=2")


def test_git_and_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = checkout.git(tmp_path)
    assert (found.what, found.state) == ("git", "missing") and "git init" in found.remedy
    monkeypatch.setattr(machine, "DISK_BYTES", 1e30)
    assert machine.disk(tmp_path).state == "missing"


def test_servers_that_need_not_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", str(free_port()))
    monkeypatch.setenv("UI_PORT", str(free_port()))
    assert servers.prefect().state == servers.mlflow(tmp_path).state == "ok"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    assert servers.mlflow(tmp_path).state == "missing"
