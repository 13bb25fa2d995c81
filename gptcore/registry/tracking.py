"""MLflow: runs, and the versions of the registered model `gpt`."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")

import mlflow  # reads the settings above on import
from mlflow.entities import Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature, set_signature

MODEL = "gpt"
EXPERIMENT = "train-gpt"
REQUIREMENTS = ("torch", "numpy", "pydantic", "safetensors", "tiktoken")

SAMPLING = {
    "n_tokens": 200,
    "temperature": 0.8,
    "top_k": 50,
    "seed": 0,
}  # defaults of `predict(prompts, params=...)`


@dataclass(frozen=True)
class Version:
    """A version of the registered model, its tags, and the id of the MLflow run that logged it."""

    number: int
    tags: dict[str, str]
    run_id: str


@dataclass(frozen=True)
class Point:
    """One value of a curve; `seconds` since the start of training set its position on MLflow's time axis."""

    name: str
    value: float
    step: int
    seconds: float


class Registry:
    """The registered model `gpt` on one tracking server or database."""

    def __init__(self, uri: str, artifacts: Path) -> None:
        """`artifacts` is where a database without a server stores its files; a server has its own artifact store."""
        mlflow.set_tracking_uri(uri)
        self.client = mlflow.MlflowClient()
        found = self.client.get_experiment_by_name(EXPERIMENT)
        place = None if uri.startswith("http") else artifacts.as_uri()
        self.experiment = found.experiment_id if found else self.client.create_experiment(EXPERIMENT, place)

    def find(self, model_sha256: str) -> Version | None:
        """Find the version with these weights."""
        found = self.client.search_model_versions(f"name = '{MODEL}' and tag.model_sha256 = '{model_sha256}'")
        return _version(found[0]) if found else None

    def holder(self, alias: str) -> Version | None:
        """Find the version that has `alias`."""
        try:
            found = self.client.get_model_version_by_alias(MODEL, alias)
        except MlflowException:
            return None
        return _version(found)

    def versions(self) -> list[tuple[Version, tuple[str, ...]]]:
        """All versions, the oldest first, each with its aliases."""
        found = sorted(self.client.search_model_versions(f"name = '{MODEL}'"), key=lambda each: int(each.version))
        if not found:
            return []
        aliases = self.client.get_registered_model(MODEL).aliases.items()
        return [
            (_version(each), tuple(alias for alias, number in aliases if int(number) == int(each.version)))
            for each in found
        ]

    def give(self, alias: str, number: int) -> None:
        self.client.set_registered_model_alias(MODEL, alias, str(number))

    def tag(self, number: int, tags: dict[str, str]) -> None:
        for name, value in tags.items():
            self.client.set_model_version_tag(MODEL, str(number), name, value)

    def register(
        self,
        name: str,
        export: Path,
        tags: dict[str, str],
        params: dict[str, str],
        metrics: dict[str, float],
        curve: list[Point],
    ) -> Version:
        """Log a run `name` with params, metrics and curve, and register its export as a new version with `tags`.

        Resumes an interrupted run for the same weights, without duplicating what it has logged.
        """
        with self._run(name, tags) as run:
            began = run.info.start_time
            points = [Metric(each.name, each.value, began + round(1000 * each.seconds), each.step) for each in curve]
            points += [Metric(key, value, began, 0) for key, value in metrics.items()]
            self.client.log_batch(run.info.run_id, points)
            mlflow.log_params(params)
            logged = mlflow.pyfunc.log_model(
                name=MODEL,
                python_model=str(Path(__file__).with_name("pyfunc.py")),
                artifacts={"export": export.as_uri()},
                pip_requirements=[f"{each}=={installed(each)}" for each in REQUIREMENTS],
            )
            assert logged.signature  # inferred from the types of `predict`, which do not include params:
            logged.signature.params = infer_signature(params=SAMPLING).params
            set_signature(logged.model_uri, logged.signature)
            with redirect_stderr(io.StringIO()):  # it prints to stderr instead of logging
                made = mlflow.register_model(logged.model_uri, MODEL, tags=tags)
        return Version(int(made.version), tags, run.info.run_id)

    @contextmanager
    def _run(self, name: str, tags: dict[str, str]) -> Iterator[mlflow.ActiveRun]:
        same = f"tags.model_sha256 = '{tags['model_sha256']}'"
        begun = self.client.search_runs([self.experiment], same, max_results=1)
        if begun:
            run = mlflow.start_run(begun[0].info.run_id)
        else:
            run = mlflow.start_run(experiment_id=self.experiment, run_name=name, tags=tags)
        with run:
            yield run


def _version(found: ModelVersion) -> Version:
    return Version(int(found.version), dict(found.tags), str(found.run_id))
