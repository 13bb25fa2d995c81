"""MLflow as a tracker: a training is a run of the experiment `train-gpt`, found again by its fingerprint."""

import json
import time
from pathlib import Path
from typing import Any

from gptcore.registry.tracking import Registry, opened  # first: it sets up mlflow

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag  # isort: skip
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

from gptcore.addresses import redacted
from gptcore.config.params import read_params
from gptcore.config.presets import flatten
from gptcore.registry.pages import run_page
from gptcore.tracking.sending import FINISHED, Begin, Point

FINGERPRINT = "training_fingerprint"
EVERY_POINT_HAS = "loss"
DIGEST_LENGTH = 36  # MLflow's limit, and the length of DVC's hash of a folder


class Mlflow:
    def __init__(self, uri: str, artifacts: Path) -> None:
        self.uri, self.artifacts = uri, artifacts
        self.experiment, self.monitors = "", _monitors()

    def begin(self, begin: Begin, run: str) -> tuple[str, int]:
        """A training from scratch goes on in a run that has not finished; one that resumes, in the newest."""
        with opened(self.uri, self.artifacts) as registry:
            self.experiment = registry.experiment
            run = run or _found(registry, begin) or _created(registry, begin)
            known = registry.client.get_run(run)
            moved = {name: each for name, each in _named(begin).items() if known.data.tags.get(name) != each}
            registry.client.update_run(run, status="RUNNING", name=begin.title() if moved else None)
            params = {name: redacted(str(value)) for name, value in flatten(begin.params).items()}
            new = [Param(name, value) for name, value in params.items() if name not in known.data.params]
            registry.client.log_batch(run, params=new, tags=[RunTag(*each) for each in moved.items()])
            if not (known.inputs and known.inputs.dataset_inputs):
                registry.client.log_inputs(run, datasets=[_dataset(begin.tokens)])
            last = [point.step for point in registry.client.get_metric_history(run, EVERY_POINT_HAS)]
            return run, max(last, default=-1)

    def log(self, run: str, points: list[Point]) -> None:
        with opened(self.uri, self.artifacts) as registry:
            for each in points:
                if each.sample:
                    registry.client.log_text(run, each.sample, f"samples/step-{each.step:09d}.txt")
            values = [
                Metric(name, value, each.time, each.step) for each in points for name, value in each.values.items()
            ]
            registry.client.log_batch(run, metrics=values)

    def end(self, run: str, status: str, tags: dict[str, str]) -> None:
        with opened(self.uri, self.artifacts) as registry:
            registry.client.log_batch(run, tags=[RunTag(*each) for each in tags.items()])
            registry.client.set_terminated(run, status)

    def page(self, run: str) -> str:
        return run_page(redacted(self.uri), self.experiment, run) if self.uri.startswith("http") else ""

    def system(self) -> dict[str, float]:
        """Under the names by which MLflow's page of a run shows them as its system metrics."""
        found: dict[str, float] = {}
        for each in self.monitors:
            each.clear_metrics()
            each.collect_metrics()
            found |= each.aggregate_metrics()
        return {f"system/{name}": float(value) for name, value in found.items()}


def _monitors() -> list[Any]:
    monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]  # type: ignore[no-untyped-call]
    try:
        return [*monitors, GPUMonitor()]  # type: ignore[no-untyped-call]
    except (ImportError, RuntimeError):  # there is no GPU, or not the library nvidia-ml-py that asks it
        return monitors


def _found(registry: Registry, begin: Begin) -> str:
    query = f"tags.{FINGERPRINT} = '{begin.fingerprint}'"
    query += "" if begin.step else f" and attributes.status != '{FINISHED}'"
    found = registry.client.search_runs([registry.experiment], query, max_results=1)
    return str(found[0].info.run_id) if found else ""


def _created(registry: Registry, begin: Begin) -> str:
    tags = {FINGERPRINT: begin.fingerprint, "role": begin.role, **_named(begin)}
    now = round(1000 * time.time())
    return str(registry.client.create_run(registry.experiment, now, tags, begin.title() or None).info.run_id)


def _named(begin: Begin) -> dict[str, str]:
    """The flow run that trains the model now, by which others find it; a baseline has none."""
    return {"flow_run_name": begin.name} if begin.name and begin.role == "model" else {}


def _dataset(tokens: dict[str, str]) -> DatasetInput:
    """The tokens, by the hash that DVC has of them, if DVC has made them here."""
    path, md5 = "data/tokens", _dvc_md5()
    source = json.dumps({"path": path, "md5": md5} if md5 else {"path": path})
    digest = (md5 or tokens["train"])[:DIGEST_LENGTH]
    dataset = Dataset(path, digest, "dvc" if md5 else "local", source, profile=json.dumps(tokens))
    tags = {"mlflow.data.context": "training", **({"dvc_md5": md5} if md5 else {})}
    return DatasetInput(dataset, [InputTag(*each) for each in tags.items()])


def _dvc_md5() -> str:
    lock = Path("dvc.lock")
    stages = read_params(lock)["stages"] if lock.is_file() else {}
    outs = stages.get("tokenize", {}).get("outs", [])
    return next((str(each["md5"]) for each in outs if each["path"] == "data/tokens"), "")
