"""Each checkpoint of a training has one point in MLflow, however often the flow is started."""

import json
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows.evaluate_checkpoints import evaluate_checkpoints
from gptcore.errors import UserError
from gptcore.evaluation.checkpoints import Question
from gptcore.model.folder import save_export
from gptcore.registry.address import embedded_uri
from gptcore.registry.evaluations import EXPERIMENT
from gptcore.tokens.tokenizer import Tokenizer
from tests.support.benchmarks import LAMBADA, write_rows
from tests.support.engine import GPT2, make_workspace
from tests.support.weights import random_model


class Killed(BaseException):
    pass


@pytest.fixture
def workspace(server: str, mlflow_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(mlflow_database, tmp_path)
    monkeypatch.chdir(make_workspace(tmp_path))
    return tmp_path


def test_each_checkpoint_is_logged_once(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between two of them, started again, and once more with a third; a retrained one begins another run."""
    tokenizer = Tokenizer.load(workspace / "data/tokens/tokenizer.json")
    models = {step: random_model(GPT2, tokenizer.n_vocab, n_layer=step) for step in (1, 2, 3)}
    for step in (1, 2):
        save_export(workspace / f"models/step-{step}", models[step], tokenizer)
    write_rows(workspace / "mine.jsonl", [LAMBADA, {"text": f"to {'b' * 17}"}])  # longer than the context
    measured, figures = [], Question.figures

    def counted(question: Question, checkpoint: object) -> dict[str, float]:
        if len(measured) == 1 and measured[0] is not None:
            measured.append(None)
            raise Killed
        measured.append(checkpoint)
        return figures(question, checkpoint)  # type: ignore[arg-type]

    monkeypatch.setattr(Question, "figures", counted)
    with pytest.raises(Killed):
        evaluate_checkpoints("models", ["mine.jsonl"])
    table = evaluate_checkpoints("models", ["mine.jsonl"])
    save_export(workspace / "models/step-3", models[3], tokenizer)
    assert evaluate_checkpoints("models", ["mine.jsonl"]).startswith(table)
    assert len([each for each in measured if each]) == 3
    client = MlflowClient(embedded_uri(workspace))
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED" and json.loads(run.data.tags["windows"])["stride"] > 0
    for name in ("bits_per_byte", "mine/acc", "mine/ungraded"):
        history = client.get_metric_history(run.info.run_id, name)
        assert sorted(each.step for each in history) == [1, 2, 3]
        assert f"{history[0].value:.4f}" in table
    assert {each.value for each in history} == {1.0}
    save_export(workspace / "models/step-3", models[2], tokenizer)
    evaluate_checkpoints("models", ["mine.jsonl"])
    assert len(client.search_runs([experiment.experiment_id])) == 2
    with pytest.raises(UserError, match=r"^gone\.jsonl cannot be read: No such file or directory$"):
        evaluate_checkpoints("models", ["gone.jsonl"])
