"""DVC's verdicts, and the behaviour of the private DVC names they rely on."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from gptcore.errors import UserError
from tasks.dvc.probe import code_of, probe, probe_stage
from tasks.dvc.record import held, record
from tasks.dvc.repository import _kept, kept_open
from tasks.dvc.restore import restore
from tasks.workspace.workspace import Workspace
from tests.support import scratch

STAGES = ["download", "start", "tokenize", "train", "baseline", "evaluate"]


def test_before_any_run_everything_is_to_do(project: Path) -> None:
    verdicts = probe(project)
    assert sorted(verdicts) == sorted(STAGES)
    assert verdicts["download"].why == ("first run",)
    assert verdicts["train"].key is None  # its dependency data/tokens is missing
    assert not list(project.glob("dvc.lock")), "a question must write nothing"


def test_a_commit_may_be_older_than_a_stage(project: Path) -> None:
    """As a version that is rebuilt."""
    stages = YAML().load(project / "dvc.yaml")
    del stages["stages"]["start"]
    YAML().dump(stages, project / "dvc.yaml")
    assert list(Workspace(project, project).verdicts()) == [stage for stage in STAGES if stage != "start"]


def test_after_a_run(project: Path) -> None:
    scratch.dvc(project, "repro")
    verdicts = probe(project)
    assert not any(verdict.why for verdict in verdicts.values())
    assert list(verdicts).index("train") < list(verdicts).index("evaluate")
    runs = {folder.name for folder in (project / ".dvc/cache/runs").glob("*/*")}
    assert {verdict.key for verdict in verdicts.values()} == runs, "DVC no longer names its run-cache as we do"
    lock = (project / "dvc.lock").read_text()
    assert all(md5 in lock for verdict in verdicts.values() for md5 in verdict.outputs.values())

    scratch.set_param(project, "train", "seed", 7)
    (project / "data/baseline/metrics.json").unlink()
    changed = probe(project)
    assert changed["train"].why == ("train.seed: 1337 → 7",)
    assert changed["baseline"].why == ("data/baseline/metrics.json is missing",)
    assert not changed["tokenize"].why
    assert changed["train"].key != verdicts["train"].key
    assert changed["train"].outputs == verdicts["train"].outputs

    scratch.set_param(project, "data", "source", "https://me:hunter2@example.org/a.txt")
    (why,) = probe(project)["download"].why
    assert why.endswith(" → https://***@example.org/a.txt")


def test_inputs_are_code_and_parameters_but_not_data(project: Path) -> None:
    inputs = probe(project)["train"].inputs
    assert set(inputs) == {"code.py", "params.yaml"}
    assert code_of(project) == {"code.py": inputs["code.py"]}
    (project / "code.py").write_text("edited = True\n")
    assert probe(project)["train"].inputs["code.py"] != inputs["code.py"]


def test_a_recorded_stage_is_up_to_date_and_restored_later(project: Path) -> None:
    scratch.dvc(project, "repro", "--single-item", "--no-commit", "download")
    record(project, "download", probe(project)["download"].key)
    assert not probe(project)["download"].why
    (project / "dvc.lock").unlink()
    scratch.run(project, "rm", "-r", "data/raw")
    assert "is cached - skipping run" in scratch.run(project, "dvc", "repro", "download")


def test_a_repository_kept_open_answers_like_one_opened_anew(project: Path) -> None:
    """After each edit, record, restoration and `dvc` command; and asking does not change what the next answer is."""

    def run_download() -> None:
        key = probe_stage(project, "download").key
        with held(project, "download") as command:
            scratch.run(project, "/bin/sh", "-c", command)
        record(project, "download", key)

    run_download()
    lock = (project / "dvc.lock").read_bytes()
    changes: list[Callable[[], object]] = [
        lambda: scratch.set_param(project, "data", "val_fraction", 0.25),
        run_download,
        lambda: (project / "code.py").write_text("edited = True\n"),
        lambda: (project / "data/raw/metrics.json").unlink(),
        lambda: (project / "dvc.lock").write_bytes(lock),
        lambda: (project / "code.py").write_text("edited = False\n"),
        lambda: scratch.set_param(project, "data", "val_fraction", 0.1),
        lambda: restore(project, "download", str(probe_stage(project, "download").key)),
        lambda: (project / "dvc.yaml").write_text((project / "dvc.yaml").read_text().replace("py down", "py  down")),
    ]
    anew = [probe(project)]
    with kept_open(project):
        kept = [probe(project)]
        for change in changes:
            change()
            kept.append({stage: probe_stage(project, stage) for stage in probe(project)})
            open_here = _kept.pop(project)
            anew.append(probe(project))
            _kept[project] = open_here
    assert kept == anew
    assert len({(each["download"].why, each["download"].key) for each in kept}) > 5, "the changes change nothing"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("dvc.lock", "`git checkout --ours dvc.lock`"),
        ("dvc.yaml", "`git diff dvc.yaml`"),
        (".git", "`git init`"),
        (".dvc", "`git checkout .dvc`"),
    ],
)
def test_what_dvc_cannot_work_with_is_one_line_with_what_to_do(project: Path, broken: str, said: str) -> None:
    if broken.startswith("."):
        (project / broken).rename(project / "away")
    else:
        (project / broken).write_text("<<<<<<< HEAD\nstages: {}\n=======\nstages: []\n>>>>>>> other\n")
    with pytest.raises(UserError) as error:
        probe(project)
    assert str(error.value).startswith(f"DVC cannot work in {project}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_broken_dvc_yaml_is_one_clear_line(project: Path) -> None:
    (project / "dvc.yaml").write_text("stages: 3\n")
    with pytest.raises(UserError, match=r"dvc\.yaml"):
        probe(project)
