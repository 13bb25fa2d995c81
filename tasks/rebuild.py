"""The step `compare`: whether a version that was made again is the same. The answer becomes a tag of the version."""

from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from gptcore.errors import UserError
from gptcore.files import read_json, sha256_file
from gptcore.registry.address import tracking_uri
from tasks.promote import hardware
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:  # 2 s of imports
    from gptcore.evaluation.rebuilt import Made
    from gptcore.registry.tracking import Registry, Version

REBUILD = "rebuild"  # the tag


@task(name="compare", task_run_name="compare", cache_policy=NO_CACHE)
def compare(workspace: Workspace, number: int) -> str:
    """A sentence on how the workspace's model and the version compare. Raises UserError, tagged, if they differ."""
    from gptcore.evaluation.rebuilt import compared
    from gptcore.registry.tracking import opened

    stages = {stage: verdict.outputs for stage, verdict in workspace.verdicts().items()}
    outputs = {path: md5 for each in stages.values() for path, md5 in each.items()}
    with opened(tracking_uri(workspace.checkout), workspace.checkout / "mlartifacts") as registry:
        version = registry.version(number)
        low, high = _difference(workspace, registry, version)
        found = compared(stages, _recorded(version), _made(workspace, outputs), low, high)
        ran = ", ".join(stage for stage in workspace.stages if stage in workspace.ran)
        told = f"{found.sentence}; {f'ran again: {ran}' if ran else 'every stage was restored'}"
        registry.tag(number, {REBUILD: told})
    sentence = f"gpt version {number}, made again, is {told}"
    if not found.is_same:
        raise UserError(sentence)
    return sentence


def _recorded(version: "Version") -> "Made":
    from gptcore.evaluation.rebuilt import Made

    tags = version.tags
    outputs = {name.removeprefix("data."): md5 for name, md5 in tags.items() if name.startswith("data.")}
    return Made(outputs, tags["model_sha256"], tags["bits_per_byte"], tags.get("hardware", "unknown"))


def _made(workspace: Workspace, outputs: dict[str, str]) -> "Made":
    from gptcore.evaluation.rebuilt import Made

    weights = workspace.paths.model / "export" / "model.safetensors"
    bits = str(workspace.metrics("evaluate")["model.bits_per_byte"])
    return Made(outputs, sha256_file(weights), bits, hardware(workspace.paths.model))


def _difference(workspace: Workspace, registry: "Registry", version: "Version") -> tuple[float, float]:
    """The paired interval; raises UserError if the version's own measurement is gone."""
    from gptcore.evaluation.measured import Measured
    from gptcore.evaluation.rebuilt import difference
    from gptcore.registry.tracking import measured_file

    values: dict[str, Any] = read_json(workspace.paths.evaluation / "measured.json")
    now = Measured.model_validate(values)
    kept = registry.noted(version, measured_file(now.text_sha256))
    if kept is None:
        raise UserError(f"gpt version {version.number} has no measurement on this validation text to compare with")
    return difference(Measured.model_validate_json(kept), now)
