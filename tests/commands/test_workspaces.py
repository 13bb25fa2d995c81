"""Clones of the checkout: what is copied into them, which process holds them, and how they are cleaned up."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from prefect import flow
from prefect.flow_engine import run_flow

from gptcore.config.presets import STAGES
from gptcore.config.settings import settings
from gptcore.config.workspaces import find, hold, remove
from gptcore.errors import UserError
from tasks.workspace.clone import clone_handed_over, clone_repository
from tasks.workspace.workspace import open_workspace
from tests.support import scratch
from tests.support.cluster import Cluster
from tests.support.command import run_command

HOLD_AND_DIE = """
import os, sys, time
from pathlib import Path
from gptcore.config.presets import STAGES
from gptcore.config.settings import settings
from gptcore.config.workspaces import hold
with hold(Path.cwd(), "killed") as root:
    (root / "half").write_text("made")
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run `gptcore workspaces` here; return what it says. It must exit with `code`."""

    def run(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        assert run_command(monkeypatch, "workspaces", *words) == code
        said = capsys.readouterr()
        return said.out + said.err

    return run


@flow(name="open", validate_parameters=False)
def open_one(overrides: Sequence[str] = (), then: str = "") -> dict[str, str]:
    """Open a clone and return its content by file."""
    with open_workspace(list(overrides), is_apart=True) as workspace:
        files = {name: (workspace.root / name).read_text() for name in ("code.py", "dvc.lock", ".dvc/config.local")}
        (found,) = find(workspace.checkout)
        with pytest.raises(UserError, match="still at work in it; cancel it first"):
            remove(workspace.checkout, found.name)
        if then:
            raise UserError(then)
        files["origin"] = scratch.run(workspace.root, "git", "remote", "get-url", "origin").strip()
        return {**files, "running": str(found.is_running), "changed": str(workspace.verdict("tokenize").why)}


def test_what_travels(finished: Path, caplog: pytest.LogCaptureFixture) -> None:
    (finished / "code.py").write_text("edited = 'not committed'\n")
    (finished / "new.py").write_text("git does not know it\n")
    found = open_one()
    assert found["code.py"] == "edited = 'not committed'\n"
    assert found["dvc.lock"] == (finished / "dvc.lock").read_text()
    assert str(finished / ".dvc/cache") in found[".dvc/config.local"]
    assert found["origin"] == str(finished)
    assert found["running"] == "True"
    assert "uncommitted edits are part of this run and its experiment: code.py" in caplog.text
    assert "files unknown to git are not part of this run: new.py" in caplog.text
    assert list((finished / "data/scratch/workspaces").iterdir()) == []


def test_whoever_starts_a_deployment_may_not_read_everywhere(cluster: Cluster, finished: Path) -> None:
    """A run in a terminal may, and so may a run that reads what params.yaml of the checkout names."""

    @flow(name="roots", validate_parameters=False)
    def roots(overrides: Sequence[str] = ()) -> str:
        with open_workspace(list(overrides), is_apart=True) as workspace:
            return workspace.settings.get("GPTCORE_DATA_ROOTS", "everywhere")

    def deployed(override: str) -> object:
        run = cluster.flow_run(cluster.submit("train-gpt/train-local", overrides=[override]))
        return run_flow(roots, run, parameters={"overrides": [override]})

    public = f". {finished} package:// hf:// https:// s3://"
    assert deployed("data.source=/etc/passwd") == public
    assert deployed("train.steps=21") == "everywhere"
    assert roots(["data.source=/etc/passwd"]) == "everywhere"


def test_experiments_go_to_the_repository_that_is_named(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container, where the pull step cloned the checkout."""
    scratch.run(tmp_path, "git", "clone", "--quiet", "--bare", str(finished), "origin.git")
    monkeypatch.setenv("GPTCORE_REPOSITORY", f"file://{tmp_path}/origin.git")
    settings.cache_clear()

    @flow(name="save")
    def save() -> str | None:
        with open_workspace([], is_apart=True) as workspace:
            assert all(workspace.restore(stage, workspace.verdict(stage).key) for stage in STAGES)
            return workspace.save_experiment("a name")

    assert save() == "a-name"
    assert "a-name" in scratch.run(tmp_path / "origin.git", "git", "for-each-ref", "refs/exps")
    assert "a-name" not in scratch.run(finished, "git", "for-each-ref", "refs/exps")


@pytest.mark.parametrize("named", ["https://example.org/a.git", "https://example.org/b.git"])
def test_a_workspace_has_the_credentials_its_checkout_was_cloned_with(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GPTCORE_REPOSITORY has none."""
    scratch.run(tmp_path, "git", "init", "--quiet", "checkout")
    scratch.run(tmp_path / "checkout", "git", "remote", "add", "origin", "https://me:hunter2@example.org/a.git")
    monkeypatch.setenv("GPTCORE_REPOSITORY", named)
    settings.cache_clear()
    clone_repository(tmp_path / "checkout", tmp_path / "workspace")
    origin = scratch.run(tmp_path / "workspace", "git", "remote", "get-url", "origin").strip()
    assert origin == named.replace("example.org/a", "me:hunter2@example.org/a")


def test_reference_from_a_runs_parameters_is_no_option_of_git(tmp_path: Path) -> None:
    scratch.run(tmp_path, "git", "init", "--quiet", "checkout")
    with pytest.raises(UserError, match="invalid refspec"):
        clone_handed_over(tmp_path / "checkout", tmp_path / "workspace", f"--upload-pack=touch {tmp_path}/ran; false")
    assert not (tmp_path / "ran").exists()


def test_left_ones_are_listed_and_removed(finished: Path, command: Callable[..., str]) -> None:
    assert command() == "no workspaces\n"
    with pytest.raises(UserError, match="broken"):
        open_one(then="broken")
    killed = scratch.start(finished, sys.executable, "-c", HOLD_AND_DIE)
    assert killed.stdout
    killed.stdout.readline()
    running, left = sorted(command().splitlines()[1:], key=lambda line: " left " in line)
    assert running.split()[:2] == ["killed", "running"]
    assert "prefect flow-run inspect " in left
    assert "cancel it first" in command("remove", "killed", code=2)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert "killed left" in " ".join(command().split())
    assert "there is no workspace 'nosuch'" in command("remove", "nosuch", code=2)
    assert "takes names, or --all" in command("remove", code=2)
    with pytest.raises(UserError, match="no workspace"):
        remove(finished, "..")
    assert command("remove", "--all").count("removed ") == 2
    assert command() == "no workspaces\n"


def test_a_second_try_begins_anew(tmp_path: Path) -> None:
    with pytest.raises(ValueError), hold(tmp_path, "run") as root:
        (root / "half").mkdir()
        raise ValueError
    with hold(tmp_path, "run") as root:
        assert list(root.iterdir()) == []
        with pytest.raises(UserError, match="another run works in"), hold(tmp_path, "run"):
            pass
    assert not root.exists()
    shutil.rmtree(tmp_path / "data")
    assert find(tmp_path) == []
