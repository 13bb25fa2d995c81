"""Which model becomes champion; promoting again changes nothing."""

import json
import re
import shutil
import sqlite3
from argparse import Namespace
from contextlib import closing
from pathlib import Path
from typing import Any

import mlflow
import pytest

from flows.rollback_gpt import rollback_gpt
from flows.sweep.grid import choose
from flows.train_gpt import train_gpt
from gptcore.commands import lineage
from gptcore.commands import registry as command
from gptcore.config.params import read_params
from gptcore.config.presets import compose
from gptcore.errors import Unavailable, UserError
from gptcore.evaluation.benchmarks.chosen import chosen
from gptcore.registry.judge import standing
from gptcore.registry.pages import COLUMNS, NOTE, unpacked
from gptcore.registry.tracking import Version, measured_file, opened_in
from tasks.promote import promote
from tests.support import scratch
from tests.support.benchmarks import QUESTION, write_rows
from tests.support.cluster import Cluster
from tests.support.faulty_proxy import faulty_proxy
from tests.support.figures import lower


def measured(bits: float, baseline: float = 2.1, text: str = "a") -> dict[str, str]:
    return {"bits_per_byte": str(bits), "baseline_bits_per_byte": str(baseline), "validation_text_sha256": text}


@pytest.mark.parametrize(
    ("champion", "said"),
    [
        (7, "is the champion: its 2.0 bits per byte against 2.1"),
        (8, "is not the champion: somebody has put the alias on version 8"),
        (None, "is not the champion: somebody has put the alias on no version; set it by hand if you want it"),
    ],
)
def test_standing_is_the_present(champion: int | None, said: str) -> None:
    holder = Version(champion, measured(2.0 if champion == 7 else 2.05), "run") if champion else None
    assert standing(lower, Version(7, measured(2.0), "run"), holder).startswith(said)


def test_promotion_over_several_models(cluster: Cluster, finished: Path) -> None:
    scratch.set_steps(finished, scratch.STEPS_BETTER)
    assert "version 2 is the new champion" in train_gpt()
    scratch.set_steps(finished, scratch.STEPS_WORSE)
    assert "version 3 is not promoted: its 2.2000 bits per byte do not beat" in train_gpt()
    before = aliases, n_runs, versions = registry(finished)
    names = {number: tags["flow_run_name"] for number, tags in versions.items()}
    scratch.wait_until(lambda: names[2] in cluster.promoted())
    assert cluster.promoted().count(names[2]) == 1
    assert names[3] not in cluster.promoted()
    assert (aliases, n_runs) == ({"champion": 2, "challenger": 3}, 3)

    scratch.set_steps(finished, scratch.STEPS)  # the first model again, from the run-cache
    said = (
        "version 1 is not the champion: its 2.0500 bits per byte beat the baseline's 2.1000 by 0.0500 to "
        "0.0500 (95 %), but its 2.0500 bits per byte do not beat version 2's 2.0200: the difference is +0.0300 to"
    )
    assert said in train_gpt()  # in the present: it was the champion
    assert registry(finished) == before

    with pytest.raises(UserError, match=r"^there is no gpt version 9; there are: 1, 2, 3; name one with --to$"):
        rollback_gpt("it swears", to=9)
    assert registry(finished) == before
    assert rollback_gpt("it  swears") == "gpt version 1 is the champion again: it swears"
    assert registry(finished)[0] == {"champion": 1, "challenger": 3}
    with opened_in(finished) as opened:
        assert opened.moves.journal.lines()[-1].why == "rollback: it swears"


def test_version_leads_to_all_that_made_it(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, versions = registry(finished)
    (tags,) = versions.values()
    assert tags["dvc_experiment"] == tags["flow_run_name"]
    assert tags["git_commit"] == scratch.run(finished, "git", "rev-parse", "HEAD").strip()
    assert tags["data.data/tokens"] in (finished / "dvc.lock").read_text()
    keys = {folder.name for folder in (finished / ".dvc/cache/runs").glob("*/*")}
    assert {value for name, value in tags.items() if name.startswith("stage_key.")} == keys
    run = only_run(finished)
    assert run.info.run_name == tags["flow_run_name"]
    assert run.data.params["train.steps"] == str(scratch.STEPS)
    assert curve(finished) == [2.0, 1.5]
    lineage.run(Namespace(reference=tags["flow_run_id"], json=True))
    told = json.loads(capsys.readouterr().out)
    assert (told["version"], told["tags"]) == (1, tags)
    assert {(move["alias"], move["from"], move["to"]) for move in told["moves"]} == {
        ("challenger", None, 1),
        ("champion", None, 1),
    }
    commands = {link["what"]: link["command"] for link in told["links"]}
    assert "a commit" in scratch.run(finished, "sh", "-c", commands["git commit"])
    assert "python stages.py train" in scratch.run(finished, "sh", "-c", commands["stage train"])
    scratch.run(finished, "sh", "-c", commands["data/model/export"])
    (made,) = (finished / "data/exported").rglob("model.safetensors")
    assert made.read_bytes() == (finished / "data/model/export/model.safetensors").read_bytes()


def test_page_tells_it_all_and_needs_no_other_file(finished: Path) -> None:
    page = (finished / "data/evaluation/report.html").read_text()
    (kept,) = (finished / "mlartifacts").rglob("report.html")
    assert kept.read_text() == page
    ((number, tags),) = registry(finished)[2].items()
    made_of = (tags["git_commit"], tags["data.data/model/export"][:12], f"gptcore lineage {number}")
    said = (
        "is the new champion: its 2.0500",
        "bits per byte (95 %)",
        "Both were trained on abacus",
        "ROMEO: to be",
        "TFLOPs",
    )
    for shown in (*said, *made_of):
        assert shown in page
    assert page.count("<svg") == 4
    assert not re.search(r"src=|href=\"?(?!#)|url\((?!#)|@import|<script", page)


def test_pages_of_mlflow_say_what_a_version_is(finished: Path) -> None:
    (version,) = client(finished).search_model_versions("name = 'gpt'")
    assert version.description.startswith("gpt version 1 is the new champion: its 2.0500 bits per byte beat")
    assert only_run(finished).data.tags[NOTE] == version.description
    assert "`champion` is the best so far" in client(finished).get_registered_model("gpt").description
    assert len(version.tags) <= 14
    assert set(COLUMNS) <= set(only_run(finished).data.metrics)
    assert only_run(finished).data.metrics["model.trained_parameters"] == 90
    baseline = compose(["baseline.source=models:/gpt@champion"], Path("params.yaml"))["baseline"]
    assert (baseline["source"], baseline["sha256"]) == ("models:/gpt/1", version.tags["model_sha256"])
    (member,) = choose({"train.start": ["gpt@champion"]}, None, 0, Path("params.yaml"))
    assert member.overrides == ["train.start='models:/gpt/1'"]  # so that an alias that moves changes no member
    values = compose(member.overrides, Path("params.yaml"))
    params = read_params(Path("params.yaml"))
    assert values["train"]["start_sha256"] == version.tags["model_sha256"]
    assert values["retained"] == {  # the corpus of that version, of which MLflow keeps strings
        "text_sha256": version.tags["validation_text_sha256"], "data": params["data"], "tokenize": params["tokenize"],
    }  # fmt: skip
    experiment = client(finished).get_experiment_by_name("train-gpt")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_promotion_broken_off_is_gone_on_with(finished: Path) -> None:
    """As if killed between creating the run and its version, or begun by the training itself, under another flow run's
    name: afterwards neither the run nor its curve is duplicated, and the name is that of version, run and experiment.
    """
    client(finished).delete_model_version("gpt", "1")
    client(finished).update_run(only_run(finished).info.run_id, name="of-the-training")
    with closing(sqlite3.connect(finished / "mlflow.db")) as database, database:
        database.execute("UPDATE metrics SET timestamp = timestamp + 5")  # a training tells the time of each point
    train_gpt()
    aliases, n_runs, versions = registry(finished)
    assert (aliases, n_runs, list(versions)) == ({"champion": 2, "challenger": 2}, 1, [2])
    assert curve(finished) == [2.0, 1.5]
    run = only_run(finished)
    assert run.info.run_name == run.data.tags["flow_run_name"] == versions[2]["flow_run_name"] != "of-the-training"


def test_cached_promotion_looks_for_its_files(finished: Path) -> None:
    assert "gpt version 1 is the champion: its 2.0500 bits per byte beat the baseline's 2.1000 by" in train_gpt()
    shutil.rmtree(finished / "mlartifacts")
    said = "gpt version 2 is the new champion: it is the model of version 1, whose files are gone."
    assert said in train_gpt()
    aliases, n_runs, versions = registry(finished)
    assert (aliases, n_runs, sorted(versions)) == ({"champion": 2, "challenger": 2}, 1, [1, 2])
    assert list((finished / "mlartifacts").rglob("model.safetensors"))

    client(finished).set_model_version_tag("gpt", "2", "withdrawn", "it swears")  # as a rollback does
    client(finished).delete_registered_model_alias("gpt", "champion")
    shutil.rmtree(finished / "mlartifacts")
    assert "gpt version 3 is not promoted: it was rolled back: it swears." in train_gpt()


def test_verdict_is_replayed_from_its_record(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without models and data; the journal names the record. A gate that was edited judges again."""
    shutil.rmtree(finished / "data")
    shutil.rmtree(finished / "mlartifacts/models")
    command.run(Namespace(action="judge", version=1))
    said = capsys.readouterr().out
    assert "gpt version 1 passes the gate: its 2.0500 bits per byte beat the baseline's 2.1000" in said
    assert "pass  bits_per_byte against baseline: its 2.0500" in said
    (version,) = client(finished).search_model_versions("name = 'gpt'")
    with opened_in(finished) as registry:
        assert [line.verdict for line in registry.moves.journal.lines() if line.alias == "champion"] == [
            version.tags["verdict"]
        ]
    (record,) = (finished / "mlartifacts").rglob(f"{version.tags['verdict']}.json")
    record.write_text(record.read_text().replace("2.1", "2.2"))
    with pytest.raises(UserError, match=r"^the verdict on gpt version 1 was changed: its sha256 is not"):
        command.run(Namespace(action="judge", version=1))
    with pytest.raises(UserError, match=r"^there is no gpt version 9; there are: 1$"):
        command.run(Namespace(action="judge", version=9))


def test_edited_gate_judges_again(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptcore.registry.moves.MOVE_SECONDS", 0.0)
    client(finished).delete_registered_model_alias("gpt", "champion")
    better = {"metric": "bits_per_byte", "against": "absolute", "margin": 2.0, "confidence": 0.95}
    scratch.set_param(finished, "gate", "conditions", [better])
    assert "version 1 is not promoted: its 2.0500 bits per byte do not beat the gate's 2.0000" in train_gpt()
    scratch.set_param(finished, "gate", "conditions", [{**better, "metric": "beauty"}])
    with pytest.raises(UserError, match=r"^params.yaml: gate.conditions.0.metric: there is no such metric"):
        train_gpt()

    write_rows(finished / "quiz.jsonl", [QUESTION])
    scratch.set_param(
        finished, "gate", "conditions", [{**better, "metric": "quiz.acc", "against": "baseline", "margin": 0.0}]
    )
    with pytest.raises(
        UserError, match=r"gate.conditions.0.metric: no task of evaluate.tasks has quiz.acc; evaluate.tasks"
    ):
        train_gpt()
    scratch.set_param(finished, "evaluate", "tasks", [chosen("quiz.jsonl")])
    assert "is the new champion: its 1.0000 acc of quiz beat the baseline's 0.2500 by 0.5" in train_gpt()
    command.run(Namespace(action="judge", version=1))
    write_rows(finished / "quiz.jsonl", [{**QUESTION, "gold": 1}])
    with pytest.raises(UserError, match=r"quiz.jsonl does not ask what it asked when quiz was chosen"):
        train_gpt()  # before any stage runs


def test_champion_of_another_text_is_measured_on_the_new_one(finished: Path) -> None:
    """It cannot be while its files are gone: no alias moves. With a measurement, no matter where from, it is judged.

    Here also by what it has forgotten of its start's text.
    """
    margin = {"metric": "bits_per_byte", "against": "retained", "margin": -0.05, "confidence": 0.95}
    conditions = [*read_params(finished / "params.yaml")["gate"]["conditions"], margin]
    scratch.set_param(finished, "gate", "conditions", conditions)
    scratch.set_param(finished, "retained", "text_sha256", "a" * 64)
    scratch.set_param(finished, "tokenize", "tokenizer", "byte")  # another text, as far as the scratch stages know
    scratch.set_steps(finished, scratch.STEPS_BETTER)
    next((finished / "mlartifacts/models").rglob("model.safetensors")).unlink()
    before, *_ = registry(finished)
    with pytest.raises(UserError, match=r"^nothing can be compared with gpt version 1: files of .* no alias was moved"):
        train_gpt()
    assert registry(finished)[0] == before
    found = json.loads((finished / "data/evaluation/measured.json").read_text())
    found["model"] = found["baseline"]
    with opened_in(finished) as opened:
        opened.note(opened.version(1), measured_file(found["text_sha256"]), json.dumps(found))
    said = "version 2 is the new champion: its 2.0200 bits per byte beat the baseline's 2.1000 by 0.0800 to 0.0800"
    report = train_gpt()
    assert f"{said} (95 %) and its 2.0200 bits per byte beat version 1's 2.1000" in report
    assert "and on its start's text its 2.0200 bits per byte exceed the start's 2.0000" in report


def test_registry_that_does_not_answer_is_asked_again(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr("flows.train_gpt.promote", promote.with_options(retries=1, retry_delay_seconds=0))
    with faulty_proxy("http://127.0.0.1:1") as (address, plan):
        plan.set("500", "GET .*model-versions/search", times=99)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        with pytest.raises(Unavailable, match=f"^the MLflow registry {address} does not answer: "):
            train_gpt()
    assert len(plan.struck) == 2


def test_another_registry_is_asked_anew(finished: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (finished / "elsewhere").mkdir()
    shutil.copy(template / "mlflow.db", finished / "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{finished}/elsewhere/mlflow.db")
    train_gpt()
    assert client(finished / "elsewhere").get_model_version_by_alias("gpt", "champion")


def client(folder: Path) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")


def registry(project: Path) -> tuple[dict[str, int], int, dict[int, dict[str, str]]]:
    """Aliases, the number of runs, and every version's tags."""
    aliases = client(project).get_registered_model("gpt").aliases
    versions = client(project).search_model_versions("name = 'gpt'")
    by_number = {int(each.version): unpacked(each.tags) for each in versions}
    return {name: int(number) for name, number in aliases.items()}, len(runs(project)), by_number


def runs(project: Path) -> list[Any]:
    experiment = client(project).get_experiment_by_name("train-gpt")
    return list(client(project).search_runs([experiment.experiment_id]))


def only_run(project: Path) -> Any:
    (run,) = runs(project)
    return run


def curve(project: Path) -> list[float]:
    return [point.value for point in client(project).get_metric_history(only_run(project).info.run_id, "val_loss")]
