"""The step `promote`: it changes the outside world, so it is a Prefect task and no DVC stage.

It registers the model as a version of `gpt` with the alias `challenger`, and moves the alias `champion` to it if its
bits per byte beat the baseline's and the current champion's.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.runtime import flow_run
from prefect.states import Completed

from gptcore.addresses import redacted
from gptcore.config.params import read_params
from gptcore.config.presets import flatten
from gptcore.files import read_json, sha256_file, write_json
from gptcore.registry.address import sqlite_file, tracking_uri
from tasks.workspace.locks import turn
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:  # saves 2 s of imports in a run where nothing changed
    from gptcore.registry.tracking import Point, Registry, Version


@dataclass(frozen=True)
class Promotion:
    """The outcome, and where MLflow keeps the model."""

    sentence: str
    version: int
    mlflow_experiment_id: str
    mlflow_run_id: str


@task(name="promote", task_run_name="promote", cache_policy=NO_CACHE)
def promote(workspace: Workspace, experiment: str | None) -> State[Promotion]:
    """Register the model; make it champion if it beats the baseline and the champion. The state says why or why not."""
    uri = tracking_uri(workspace.checkout)
    receipt = workspace.paths.scratch / "promote" / "promotion.json"
    question = {**_question(workspace), "tracking_uri": redacted(uri)}
    if promotion := _answered(receipt, question, uri):
        return Completed(name="Cached", message=promotion.sentence, data=promotion)
    with turn(workspace.checkout, "promote"):  # each run must see the champion of the other
        promotion, is_new = _settle(workspace, experiment, uri)
    write_json(receipt, {"question": question, "registry": _stamp(uri), "promotion": asdict(promotion)})
    return Completed(name=None if is_new else "Cached", message=promotion.sentence, data=promotion)


def judge(tags: dict[str, str], champion: "Version | None") -> tuple[bool, str]:
    """Whether a version with `tags` should become champion, and why or why not."""
    ours, baseline = float(tags["bits_per_byte"]), float(tags["baseline_bits_per_byte"])
    if not ours < baseline:
        return False, f"its {ours:.4f} bits per byte do not beat the nanoGPT baseline's {baseline:.4f}"
    won = f"its {ours:.4f} bits per byte beat the nanoGPT baseline's {baseline:.4f}"
    if champion is None:
        return True, f"{won}, and there was no champion yet"
    name = f"the champion, version {champion.number},"
    if champion.tags.get("validation_text_sha256") != tags["validation_text_sha256"]:
        return False, f"{won}, but {name} was measured on other validation text; set the alias by hand if you want it"
    theirs = float(champion.tags["bits_per_byte"])
    if not ours < theirs:
        return False, f"{won}, but not the {theirs:.4f} of {name.rstrip(',')}"
    return True, f"{won} and the {theirs:.4f} of version {champion.number}, the champion so far"


def _settle(workspace: Workspace, experiment: str | None, uri: str) -> tuple[Promotion, bool]:
    """Register, tag and promote as needed; returns the outcome and whether anything was done."""
    from gptcore.registry.tracking import Registry

    registry = Registry(uri, workspace.checkout / "mlartifacts")
    tags = _tags(workspace, experiment)
    version = registry.find(tags["model_sha256"])
    if version and "promotion" in version.tags and version.tags["stage_key.evaluate"] == tags["stage_key.evaluate"]:
        said = version.tags["promotion"]
        return Promotion(said, version.number, registry.experiment, version.run_id), False
    if version is None:
        version = _register(registry, workspace, tags)
    else:
        registry.tag(version.number, tags)
    sentence = f"gpt version {version.number} {_place(registry, version.number, tags)}."
    registry.tag(version.number, {"promotion": sentence})  # last, as it marks all of the above as done
    return Promotion(sentence, version.number, registry.experiment, version.run_id), True


def _place(registry: "Registry", number: int, tags: dict[str, str]) -> str:
    """Set the aliases of version `number` and describe the outcome; emit an event for a new champion."""
    champion = registry.holder("champion")
    if champion and champion.number == number:
        return "is the champion already"
    registry.give("challenger", number)
    wins, because = judge(tags, champion)
    if not wins:
        return f"is not promoted: {because}"
    registry.give("champion", number)
    emit_event(
        event="gptcore.model.promoted",
        resource={"prefect.resource.id": "gptcore.model.gpt", "prefect.resource.name": f"gpt version {number}"},
        payload={"version": number, "because": because, **tags},
    )
    return f"is the new champion: {because}"


def _register(registry: "Registry", workspace: Workspace, tags: dict[str, str]) -> "Version":
    metrics = {name: float(value) for name, value in workspace.metrics("evaluate").items() if value is not None}
    params = {name: redacted(str(value)) for name, value in flatten(read_params(workspace.paths.params)).items()}
    export = workspace.paths.model / "export"
    return registry.register(tags["flow_run_name"], export, tags, params, metrics, list(_curve(workspace.paths.model)))


def _curve(folder: Path) -> "Iterator[Point]":
    from gptcore.evaluation.curves import read_curve
    from gptcore.registry.tracking import Point

    for row in read_curve(folder / "curve.csv", folder / "timing.csv").to_dict("records"):
        step, seconds = int(row.pop("step")), row.pop("seconds")
        yield from (Point(name, value, step, seconds) for name, value in row.items())


def _tags(workspace: Workspace, experiment: str | None) -> dict[str, str]:
    """Tags that link a version to the flow run, experiment, data and code that made it."""
    verdicts = workspace.verdicts()
    hashes = {f"data.{path}": value for verdict in verdicts.values() for path, value in verdict.outputs.items()}
    return {
        "flow_run_name": flow_run.name,
        "flow_run_id": flow_run.id,
        **({"dvc_experiment": experiment} if experiment else {}),
        "git_commit": workspace.commit(),
        **hashes,
        **_question(workspace),
    }


def _question(workspace: Workspace) -> dict[str, str]:
    """Everything that the decision depends on except the registry."""
    metrics = workspace.metrics("evaluate")
    return {
        "model_sha256": sha256_file(workspace.paths.model / "export" / "model.safetensors"),
        "bits_per_byte": str(metrics["model.bits_per_byte"]),
        "baseline_bits_per_byte": str(metrics["baseline.bits_per_byte"]),
        "validation_text_sha256": read_json(workspace.paths.tokens / "meta.json")["val"]["text_sha256"],
        **{f"stage_key.{stage}": str(verdict.key) for stage, verdict in workspace.verdicts().items()},
    }


def _answered(receipt: Path, question: dict[str, str], uri: str) -> Promotion | None:
    """The previous outcome, if neither the question nor the registry has changed since."""
    if not receipt.is_file():
        return None
    known = read_json(receipt)
    same = known["question"] == question and known["registry"] and known["registry"] == _stamp(uri)
    return Promotion(**known["promotion"]) if same else None


def _stamp(uri: str) -> list[int] | None:
    """What changes when the registry's database does; None where a server keeps it, which must be asked each time."""
    database = sqlite_file(uri)
    if database is None or not database.exists():
        return None
    return [database.stat().st_mtime_ns, database.stat().st_size]
