"""MLflow: runs, and the versions of the registered model `gpt`."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # 12 s; whoever asks then tries again himself

import mlflow  # reads the settings above on import
from mlflow.entities import Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import infer_signature, set_signature
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from gptcore.addresses import redacted
from gptcore.errors import Unavailable, UserError
from gptcore.registry.address import sqlite_file, tracking_uri
from gptcore.registry.answers import answers
from gptcore.registry.journal import Journal
from gptcore.registry.judge import Ruling
from gptcore.registry.moved import EXPERIMENT, follow, local_path
from gptcore.registry.moves import Moves
from gptcore.registry.pack import copy_code, requirements
from gptcore.registry.pages import EXPERIMENT_TAGS, MODEL_NOTE, NOTE, packed, unpacked
from gptcore.registry.sampling import SAMPLING

MODEL = "gpt"
VERDICT = "verdict"  # the tag that names the record of the last verdict on a version


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


@contextmanager
def opened_in(checkout: Path) -> Iterator["Registry"]:
    """The registry of `checkout` for a command, which does not make one. Raises UserError if there is none."""
    uri = tracking_uri(checkout)
    if (database := sqlite_file(uri)) and not database.is_file():
        raise UserError(f"there is no MLflow registry {database} yet; run the flow, or set MLFLOW_TRACKING_URI")
    with opened(uri, checkout / "mlartifacts") as registry:
        yield registry


@contextmanager
def opened(uri: str, artifacts: Path) -> Iterator["Registry"]:
    """The registry at `uri`. What goes wrong with it in the block is raised as UserError or Unavailable."""
    with answers(uri):
        yield Registry(uri, artifacts)


class Registry:
    """The registered model `gpt` on one tracking server or database."""

    def __init__(self, uri: str, artifacts: Path) -> None:
        """`artifacts` is where a database without a server stores its files; a server has its own artifact store."""
        self.uri, self.place = uri, None if uri.startswith("http") else artifacts.as_uri()
        database = sqlite_file(uri)
        if self.place and database and database.is_file() and database.parent.resolve() == artifacts.parent.resolve():
            follow(database, self.place)
        mlflow.set_tracking_uri(uri)
        self.client = mlflow.MlflowClient()

    @cached_property
    def experiment(self) -> str:
        """The id of the MLflow experiment, made if there is none. Raises UserError if it is deleted."""
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            return str(self.client.create_experiment(EXPERIMENT, self.place, tags=EXPERIMENT_TAGS))
        if found.lifecycle_stage == "deleted":
            restore = f"mlflow experiments restore --experiment-id {found.experiment_id}"
            raise UserError(
                f"the experiment {EXPERIMENT} of the MLflow registry {redacted(self.uri)} is deleted; restore it, "
                f"`MLFLOW_TRACKING_URI={redacted(self.uri)} {restore}`, or set MLFLOW_TRACKING_URI to another registry"
            )
        for name in EXPERIMENT_TAGS.keys() - found.tags.keys():  # it is older than the tag
            self.client.set_experiment_tag(found.experiment_id, name, EXPERIMENT_TAGS[name])
        return str(found.experiment_id)

    def find(self, model_sha256: str) -> Version | None:
        """Find the newest version with these weights."""
        found = self.client.search_model_versions(f"name = '{MODEL}' and tag.model_sha256 = '{model_sha256}'")
        return max(map(_version, found), key=lambda each: each.number, default=None)

    def holder(self, alias: str) -> Version | None:
        """Find the version that has `alias`; the model must be registered.

        This asks for all aliases: a request for one that is not set ends in an error, which looks like any other.
        """
        model = self.client.get_registered_model(MODEL)
        if model.name != MODEL:  # MLflow takes an empty answer for one without aliases
            raise Unavailable(f"the MLflow registry {redacted(self.uri)} does not say who has the alias {alias}")
        number = model.aliases.get(alias)
        return _version(self.client.get_model_version(MODEL, str(number))) if number is not None else None

    def version(self, number: int) -> Version:
        """Raises UserError if there is none of this number."""
        found = {each.number: each for each, _ in self.versions()}
        if number not in found:
            known = ", ".join(map(str, found)) or "none"
            raise UserError(f"there is no gpt version {number}; there are: {known}")
        return found[number]

    def params(self, version: Version) -> dict[str, str]:
        """The parameters that the run of a version has logged, params.yaml flattened; none if it has no run."""
        return dict(self.client.get_run(version.run_id).data.params) if version.run_id else {}

    def address(self, number: int) -> str:
        """Where the files of a version are."""
        return str(self.client.get_model_version_download_uri(MODEL, str(number)))

    def is_there(self, number: int, export: Path) -> bool:
        """Whether the artifact store has the files of a version, those of `export` in their full size."""
        model = f"models:/{MODEL}/{number}"
        files = mlflow.artifacts.list_artifacts(f"{model}/artifacts/export")
        sizes = {Path(each.path).name: each.file_size for each in files}
        return sizes == {each.name: each.stat().st_size for each in export.iterdir()} and any(
            each.path == "MLmodel" for each in mlflow.artifacts.list_artifacts(model)
        )

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

    @cached_property
    def moves(self) -> Moves:
        """What moves an alias and writes it down."""
        return Moves(
            Journal(self.client, self.place),
            lambda alias: self.aliases().get(alias),
            lambda alias, number: self.client.set_registered_model_alias(MODEL, alias, str(number)),
        )

    def aliases(self) -> dict[str, int]:
        """Each alias and the version that has it; none if the model is not registered."""
        found = self.client.search_registered_models(f"name = '{MODEL}'")
        return {alias: int(number) for each in found for alias, number in each.aliases.items()}

    @contextmanager
    def export(self, number: int) -> Iterator[Path]:
        """A folder with the model folder of a version, fetched if it is not on this disk. Raises UserError if gone."""
        if local := local_path(self.address(number)):
            yield local / "artifacts/export"
            return
        with TemporaryDirectory(prefix="gptcore-") as folder:
            address = f"models:/{MODEL}/{number}/artifacts/export"
            if not mlflow.artifacts.list_artifacts(address):  # downloading them would look like an outage
                raise UserError(f"files of gpt version {number} are gone: there are none at {self.address(number)}")
            yield Path(mlflow.artifacts.download_artifacts(artifact_uri=address, dst_path=folder))

    def keep(self, version: Version, ruling: Ruling) -> None:
        """Keep the record of a ruling with its version, beside earlier ones, whose hashes the journal may have."""
        if ruling.record:
            self.note(version, verdict_file(ruling.sha256), ruling.record)
            self.tag(version.number, {VERDICT: ruling.sha256})

    def note(self, version: Version, path: str, text: str) -> None:
        """Keep a text file with a version: as an artifact of its run. Raises UserError if it has none."""
        if not version.run_id:
            raise UserError(f"gpt version {version.number} was registered without a run, which would keep {path}")
        with TemporaryDirectory(prefix="gptcore-") as folder:
            file = Path(folder) / Path(path).name
            file.write_text(text, encoding="utf-8")
            self._artifacts(version).log_artifact(str(file), _folder(path))  # type: ignore[no-untyped-call]

    def noted(self, version: Version, path: str) -> str | None:
        """The text that `note` has kept at `path`, if there is one."""
        if not version.run_id:  # somebody has registered it by hand
            return None
        artifacts = self._artifacts(version)
        if path not in [each.path for each in artifacts.list_artifacts(_folder(path))]:
            return None
        with TemporaryDirectory(prefix="gptcore-") as folder:
            return Path(artifacts.download_artifacts(path, folder)).read_text(encoding="utf-8")  # type: ignore[no-untyped-call]

    def _artifacts(self, version: Version) -> ArtifactRepository:
        """Those of its run. MLflow's client remembers where they are by the run's id, even if the registry moves."""
        return get_artifact_repository(self.client.get_run(version.run_id).info.artifact_uri)

    def tag(self, number: int, tags: dict[str, str]) -> None:
        for name, value in packed(tags).items():
            self.client.set_model_version_tag(MODEL, str(number), name, value)

    def describe(self, number: int, sentence: str) -> None:
        """Show `sentence` as the description of a version. Later versions may change how it stands, so it is dated."""
        self.client.update_model_version(MODEL, str(number), f"{sentence} ({date.today()})")

    def conclude(self, version: Version, sentence: str) -> None:
        """Show the verdict on a version as its description and as its run's. The tag comes last: it marks the end."""
        if not self.client.get_registered_model(MODEL).description:
            self.client.update_registered_model(MODEL, MODEL_NOTE)
        self.client.set_tag(version.run_id, NOTE, f"{sentence} ({date.today()})")
        self.describe(version.number, sentence)
        self.tag(version.number, {"promotion": sentence})

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

        Goes on in the run of these weights, which the training has begun if it was tracked, or a promotion that was
        interrupted; without duplicating what it has logged.
        """
        with self._run(name, tags) as run:
            began = run.info.start_time
            known = {each: self._steps(run.info.run_id, each) for each in {each.name for each in curve}}
            points = [
                Metric(each.name, each.value, began + round(1000 * each.seconds), each.step)
                for each in curve
                if each.step not in known[each.name]
            ]
            points += [Metric(key, value, began, 0) for key, value in metrics.items()]
            self.client.log_batch(run.info.run_id, points)
            mlflow.log_params({key: value for key, value in params.items() if key not in run.data.params})
            with TemporaryDirectory(prefix="gptcore-") as folder:
                logged = mlflow.pyfunc.log_model(
                    name=MODEL,
                    python_model=str(Path(__file__).with_name("pyfunc.py")),
                    artifacts={"export": export.as_uri()},
                    code_paths=[str(copy_code(Path(folder)))],
                    pip_requirements=requirements(export),
                )
            assert logged.signature  # inferred from the types of `predict`, which do not include params:
            logged.signature.params = infer_signature(params=SAMPLING).params
            set_signature(logged.model_uri, logged.signature)
            with redirect_stderr(io.StringIO()):  # it prints to stderr instead of logging
                made = mlflow.register_model(logged.model_uri, MODEL, tags=packed(tags))
        return Version(int(made.version), tags, run.info.run_id)

    @contextmanager
    def _run(self, name: str, tags: dict[str, str]) -> Iterator[mlflow.ActiveRun]:
        same = f"tags.model_sha256 = '{tags['model_sha256']}'"
        begun = self.client.search_runs([self.experiment], same, max_results=1)
        if begun:
            run = mlflow.start_run(begun[0].info.run_id)
            self.client.update_run(run.info.run_id, name=name)
            mlflow.set_tags(packed(tags))
        else:
            run = mlflow.start_run(experiment_id=self.experiment, run_name=name, tags=packed(tags))
        with run:
            yield run

    def _steps(self, run: str, name: str) -> set[int]:
        return {each.step for each in self.client.get_metric_history(run, name)}


def _folder(path: str) -> str | None:
    """Of an artifact; MLflow knows no `.`."""
    return path.rpartition("/")[0] or None


def verdict_file(sha256: str) -> str:
    return f"verdicts/{sha256}.json"


def measured_file(text_sha256: str) -> str:
    """Of a measurement on the validation text that has this hash."""
    return f"measured/{text_sha256}.json"


def asked_file(sha256: str) -> str:
    """Of what a version answered to the questions that have this hash."""
    return f"asked/{sha256}.json"


def retained_file(text_sha256: str) -> str:
    """Of a measurement, with the start of its training, on the start's validation text that has this hash."""
    return f"retained/{text_sha256}.json"


def _version(found: ModelVersion) -> Version:
    return Version(int(found.version), unpacked(found.tags), str(found.run_id or ""))
