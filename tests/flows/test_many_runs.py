"""Ten concurrent runs on one machine do not disturb each other and leave nothing behind."""

import tempfile
from pathlib import Path

import pytest

from tests.flows.test_flow import experiments
from tests.support import scratch
from tests.support.cluster import Cluster

RUNS = 10


def traces(project: Path) -> set[str]:
    """All that a run could leave: temporary files, clones, DVC locks, and git refs except those of experiments."""
    places = [project / ".dvc/tmp", project / "data/scratch", project / ".git"]
    files = {str(each) for place in places for each in place.rglob("*") if each.is_file()}
    files = {each for each in files if "/.git/objects/" not in each and "/refs/exps/" not in each}
    files -= {str(project / "data/scratch/turns")}  # one empty file, however many runs take turns
    temporary = Path(tempfile.gettempdir()).glob("gptcore-*")
    return files | {str(each) for each in temporary if not each.name.startswith("gptcore-tests-")}


@pytest.mark.load
@pytest.mark.timeout(600)  # for a busy machine
def test_ten_runs_at_once(cluster: Cluster, project: Path) -> None:
    scratch.dvc(project, "repro", "tokenize")
    (project / "code.py").write_text("edited = 'not committed'\n")
    files = {each: (project / each).read_bytes() for each in ("dvc.lock", "params.yaml", "code.py")}
    status, before = scratch.run(project, "git", "status", "--short"), traces(project)
    with cluster.worker(project, limit=2) as worker:
        runs = [
            cluster.submit("train-gpt/train-local", overrides=[f"train.steps={21 + number}"], promotion=False)
            for number in range(RUNS)
        ]
        found = [cluster.wait(run, "Completed") for run in runs]
        scratch.wait_until(lambda: len(scratch.processes_in(project)) == 1)  # the worker
        assert worker.poll() is None
    assert scratch.processes_in(project) == []
    assert traces(project) - before == set()
    assert list((project / "data/scratch/workspaces").iterdir()) == []
    assert {run.name for run in found} == set(experiments(project))
    assert files == {each: (project / each).read_bytes() for each in files}
    assert scratch.run(project, "git", "status", "--short") == status
    assert not (project / "data/model").exists()
    assert (project / ".dvc/tmp/rwlock").read_text() in ("", "{}")
