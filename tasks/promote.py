"""The step `promote`: it changes the outside world, so it is a Prefect task and no DVC stage.

It registers the model as a version of `gpt` with the alias `challenger`, and moves the alias `champion` to it if it
passes the gate, a section of params.yaml.
"""

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.runtime import flow_run
from prefect.states import Completed

from gptcore.addresses import redacted
from gptcore.config.params import read_params
from gptcore.config.presets import flatten
from gptcore.files import read_json, sha256_file, write_json
from gptcore.registry.address import sqlite_file, tracking_uri
from gptcore.registry.champion import crown, is_judged
from gptcore.registry.judge import WITHDRAWN, Judge, standing
from gptcore.registry.moved import local_path
from tasks.gate import RETAINED_TEXT, Gate, read_gate
from tasks.stage import STAGE
from tasks.stop import stoppable
from tasks.workspace.locks import turn
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:  # saves 2 s of imports in a run where nothing changed
    from gptcore.registry.tracking import Point, Registry, Version


@dataclass(frozen=True)
class Promotion:
    """How the version stands now, and where MLflow keeps the model: its run, and the address of its files."""

    sentence: str
    version: int
    mlflow_experiment_id: str
    mlflow_run_id: str
    files: str = ""  # receipts that are older than this field have none


@task(name="promote", task_run_name="promote", **STAGE)
@stoppable
def promote(workspace: Workspace, experiment: str | None) -> State[Promotion]:
    """Register the model; make it champion if it passes the gate. The state says why or why not.

    Retried when the registry does not answer.
    """
    uri = tracking_uri(workspace.checkout)
    receipt = workspace.paths.scratch / "promote" / "promotion.json"
    question = {**_question(workspace), "tracking_uri": redacted(uri)}
    if promotion := _answered(receipt, question, uri, workspace.paths.model / "export"):
        return Completed(name="Cached", message=promotion.sentence, data=promotion)
    with turn(workspace.checkout, "promote"):  # two runs would register one model twice
        promotion, news = _settle(workspace, experiment, uri)
    write_json(receipt, {"question": question, "registry": _stamp(uri), "promotion": asdict(promotion)})
    return Completed(name=None if news else "Cached", message=news or promotion.sentence, data=promotion)


def _settle(workspace: Workspace, experiment: str | None, uri: str) -> tuple[Promotion, str]:
    """Do at the registry what is still to be done: (how it stands, the news or nothing)."""
    from gptcore.registry.tracking import opened
    from gptcore.tracking.trackers import send_left

    with opened(uri, workspace.checkout / "mlartifacts") as registry:
        send_left("mlflow", workspace.paths, uri, workspace.checkout / "mlartifacts")
        tags, gate = _tags(workspace, experiment), Gate(workspace, registry)
        version = registry.find(tags["model_sha256"])
        if version and not registry.is_there(version.number, workspace.paths.model / "export"):
            get_run_logger().warning(
                f"the files of gpt version {version.number} are gone; a new version takes its place"
            )
            tags |= {WITHDRAWN: version.tags[WITHDRAWN]} if version.tags.get(WITHDRAWN) else {}
            version = None
        news = "" if version and _is_settled(version, tags) else _promote(registry, gate, tags, version)
        version = registry.find(tags["model_sha256"])
        assert version
        sentence = f"gpt version {version.number} {standing(gate, version, registry.holder('champion'))}."
        files = registry.address(version.number)
        return Promotion(sentence, version.number, registry.experiment, version.run_id, files), news


def _is_settled(version: "Version", tags: dict[str, str]) -> bool:
    same = all(version.tags.get(name) == tags[name] for name in ("stage_key.evaluate", "gate"))
    return is_judged(version) and same


def _promote(registry: "Registry", gate: Gate, tags: dict[str, str], version: "Version | None") -> str:
    """Make `version`, or a new one, what it deserves to be; the news."""
    judged = version is not None and is_judged(version)
    if version is None:
        version = _register(registry, gate.workspace, tags)
    else:
        registry.tag(version.number, {"promotion": "", **tags})
    gate.note(version)
    place = _place(registry, gate, version.number, tags, gate.workspace.paths.model / "export", judged)
    sentence = f"gpt version {version.number} {place}."
    registry.conclude(version, sentence)  # last, as it marks all of the above as done
    return sentence


def _place(
    registry: "Registry", judge: Judge, number: int, tags: dict[str, str], export: Path, judged: bool = False
) -> str:
    """Set the aliases of version `number` and describe the outcome; emit an event for a new champion.

    `judged`: whether a run has done so before.
    """
    champion = registry.holder("champion")
    if champion and champion.number == number and judged:
        return "is the champion already"
    same = champion and champion.number != number and champion.tags.get("model_sha256") == tags["model_sha256"]
    gone = champion and same and not registry.is_there(champion.number, export)
    ruling = crown(registry, number, judge, replaces=champion.number if champion and gone else None)
    registry.moves.move("challenger", number, "it is the newest")  # a champion that cannot be measured: nothing moves
    if not ruling.wins:
        return f"is not promoted: {ruling.because}"
    emit_event(
        event="gptcore.model.promoted",
        resource={"prefect.resource.id": "gptcore.model.gpt", "prefect.resource.name": f"gpt version {number}"},
        payload={"version": number, "because": ruling.because, **tags},
    )
    return f"is the new champion: {ruling.because}"


def _register(registry: "Registry", workspace: Workspace, tags: dict[str, str]) -> "Version":
    metrics = {name: float(value) for name, value in workspace.metrics("evaluate").items() if value is not None}
    if trained := workspace.metrics("train").get("trained_parameters"):
        metrics["model.trained_parameters"] = float(trained)
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
        "hardware": hardware(workspace.paths.model),
        **({"start": start} if (start := read_params(workspace.paths.params)["train"]["start"]) else {}),
        **hashes,
        **_question(workspace),
    }


def hardware(folder: Path) -> str:
    """On which a model was trained; unknown of those that are older than the record of it."""
    with (folder / "timing.csv").open(newline="", encoding="utf-8") as file:
        *_, last = csv.DictReader(file)
    return str(last.get("hardware") or "unknown")


def _question(workspace: Workspace) -> dict[str, str]:
    """Everything that the decision depends on except the registry."""
    metrics = workspace.metrics("evaluate")
    retained = read_json(workspace.paths.evaluation / "retained.json")
    return {
        **({RETAINED_TEXT: retained["text_sha256"]} if retained else {}),
        "model_sha256": sha256_file(workspace.paths.model / "export" / "model.safetensors"),
        "bits_per_byte": str(metrics["model.bits_per_byte"]),
        "baseline_bits_per_byte": str(metrics["baseline.bits_per_byte"]),
        "validation_text_sha256": read_json(workspace.paths.tokens / "meta.json")["val"]["text_sha256"],
        "gate": hashlib.sha256(read_gate(workspace.paths.params).model_dump_json().encode()).hexdigest(),
        **{f"stage_key.{stage}": str(verdict.key) for stage, verdict in workspace.verdicts().items()},
    }


def _answered(receipt: Path, question: dict[str, str], uri: str, export: Path) -> Promotion | None:
    """How it stood the last time, if neither the question nor the registry nor the version's files changed since."""
    if not receipt.is_file():
        return None
    known = read_json(receipt)
    promotion = Promotion(**known["promotion"])
    same = known["question"] == question and known["registry"] and known["registry"] == _stamp(uri)
    return promotion if same and _are_here(promotion.files, export) else None


def _are_here(files: str, export: Path) -> bool:
    """Whether the files of a version, those of `export` among them, are at an address on this disk."""
    if (folder := local_path(files)) is None:
        return False
    return (folder / "MLmodel").is_file() and _sizes(folder / "artifacts/export") == _sizes(export)


def _sizes(folder: Path) -> dict[str, int]:
    return {each.name: each.stat().st_size for each in folder.iterdir()} if folder.is_dir() else {}


def _stamp(uri: str) -> list[int] | None:
    """What changes when the registry's database does; None where a server keeps it, which must be asked each time."""
    database = sqlite_file(uri)
    if database is None or not database.exists():
        return None
    return [database.stat().st_mtime_ns, database.stat().st_size]
