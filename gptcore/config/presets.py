"""Presets: compose the groups of conf/ with Hydra into params.yaml, the only configuration that the stages read.

A group choice (`model=baby`) recomposes everything; a dotted value alone (`train.steps=200`) changes only that field.
"""

import importlib
import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gptcore.config.overrides import literal, parse
from gptcore.config.params import Section, read_params, stage_sections, validate_section
from gptcore.errors import UserError, known_names
from gptcore.files import write_text

STAGES = ("download", "start", "tokenize", "train", "baseline", "evaluate")
OF_STEPS = {"gate": ("gptcore.evaluation.gate", "GateConfig")}  # sections of steps that are no stage: `promote`
EXAMPLE = "train.start=gpt@champion"
NOTHING_RETAINED = {"retained.text_sha256": "", "retained.data": None, "retained.tokenize": None}
RESOLVING = "UserError raised while resolving interpolation: "  # OmegaConf puts it before what a resolver says
HEADER = """\
# What is made: every value here changes the result, and every value that changes the result is here.
# Edit it, or say `gptcore configure train.steps=2000`. `gptcore configure --help` lists presets; conf/ has the reasons.
"""


def compose(overrides: list[str], current: Path) -> dict[str, Any]:
    """Apply `overrides` to the params.yaml at `current` or to conf/ beside it, and return the validated values.

    Only conf/ interpolates; values of overrides and of params.yaml are taken as they are. Raises UserError.
    """
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("equal_width", _equal_width, replace=True)
    presets = current.parent / "conf"
    choices, fields = parse(overrides, groups(presets))
    start = _hydra(presets, choices) if choices or not current.exists() else literal(read_params(current))
    try:
        config = OmegaConf.create(start)
        OmegaConf.set_struct(config, False)  # a field that is not there is told by its class, with the nearest name
        for field, value in fields.items():
            OmegaConf.update(config, field, literal(value))
        _begin(config, choices, fields, presets)
        values = OmegaConf.to_container(config, resolve=True)
    except UserError:
        raise
    except Exception as error:  # of OmegaConf, or of the parser of its interpolations
        said = (str(error) or repr(error)).splitlines()[0].removeprefix(RESOLVING)
        raise UserError(f"cannot apply {' '.join(overrides)}: {said}") from None
    assert isinstance(values, dict)
    return _pinned(validate(with_tasks({str(name): section for name, section in values.items()})), fields)


def _begin(config: Any, choices: list[str], given: dict[str, Any], presets: Path) -> None:
    """With a start, the model is the start's, an alias its number, and the text to retain that of the start.

    Nothing changes while the start is pinned and no override concerns it. Raises UserError for a value that contradicts
    it.
    """
    from omegaconf import OmegaConf

    source, sha256 = (OmegaConf.select(config, f"train.{name}") for name in ("start", "start_sha256"))
    asked = {name.removeprefix("model.") for name in given if name.startswith("model.")}
    if {"model", "architecture"} & {text.partition("=")[0] for text in choices}:
        asked |= {str(name) for name in config.model}
    if not isinstance(source, str) or ("train.start" not in given and (not source or (sha256 and not asked))):
        return
    fields: dict[str, Any] = {"train.start_sha256": "", **NOTHING_RETAINED}
    if source:
        like = OmegaConf.to_container(_hydra(presets, []), resolve=True)
        fields = importlib.import_module("gptcore.weights.start").fields(source, config.model, asked, like)
    if (sha256 := given.get("train.start_sha256", fields["train.start_sha256"])) != fields["train.start_sha256"]:
        now = fields["train.start_sha256"]
        raise UserError(f"train.start {source} has weights with sha256 {now}, and train.start_sha256 is {sha256}")
    keeps_text = "train.start" not in given or any(name.startswith("retained.") for name in given)
    for field, value in fields.items():
        if not (keeps_text and field in NOTHING_RETAINED):
            OmegaConf.update(config, field, literal(value), merge=False)


def _pinned(values: dict[str, Any], given: Collection[str]) -> dict[str, Any]:
    """A baseline that is taken gets its sha256, and an alias its number, so that the run stays the same.

    The start itself needs neither: `train.start_sha256` is its hash.
    """
    baseline = values["baseline"]
    if "baseline.sha256" in given or (baseline["sha256"] and "baseline.source" not in given):
        return values
    source, sha256 = baseline["source"], ""
    if source not in ("train", "start"):
        source, sha256 = importlib.import_module("gptcore.weights.pinned").pinned(source)
    return {**values, "baseline": {**baseline, "source": source, "sha256": sha256}}


def with_tasks(values: dict[str, Any]) -> dict[str, Any]:
    """A task of which a name or a source is given gets the hash of what it asks, so that the run stays the same.

    Raises UserError, Unavailable.
    """
    evaluate: Any = values.get("evaluate")
    tasks = evaluate.get("tasks") if isinstance(evaluate, dict) else None
    if not isinstance(tasks, list) or all(isinstance(each, dict) and each.get("sha256") for each in tasks):
        return values
    chosen = importlib.import_module("gptcore.evaluation.benchmarks.chosen").chosen
    found = [each if isinstance(each, dict) and each.get("sha256") else chosen(each) for each in tasks]
    return {**values, "evaluate": {**evaluate, "tasks": found}}


def validate(values: dict[str, Any]) -> dict[str, Any]:
    """Validate `values`; returns them with sections and fields in the order of their classes. Raises UserError.

    The stages are imported for their signatures; they import torch (2 s) only when they run.
    """
    kinds = section_types()
    for name in values:
        if name not in kinds:
            raise UserError(f"params.yaml: section {name} is unknown{known_names(name, kinds)}")
    sections = {name: validate_section(values, name, kind) for name, kind in kinds.items()}
    _check_across(sections)
    return {name: _ordered(values[name], section.model_dump()) for name, section in sections.items()}


def section_types() -> dict[str, type[BaseModel]]:
    """Every section of params.yaml and its class: the stages' arguments, except views of other stages' sections."""
    steps = {name: getattr(importlib.import_module(module), kind) for name, (module, kind) in OF_STEPS.items()}
    stages = [getattr(importlib.import_module(f"gptcore.stages.{stage}"), stage) for stage in STAGES]
    found = [(name, kind) for stage in stages for name, kind in stage_sections(stage).items()]
    return {name: kind for name, kind in found if issubclass(kind, Section)} | steps


def write(values: dict[str, Any], path: Path) -> None:
    """Write `values` to `path`, atomically."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 120
    blocks = []
    for name, section in values.items():
        block = io.StringIO()
        yaml.dump({name: section}, block)
        blocks.append(block.getvalue())
    write_text(path, "\n".join([HEADER, *blocks]))


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """(field, old value, new value) of each field that differs; a missing value is `...`."""
    before, after = flatten(old), flatten(new)
    fields = [*after, *(field for field in before if field not in after)]
    return [(f, before.get(f, ...), after.get(f, ...)) for f in fields if before.get(f, ...) != after.get(f, ...)]


def groups(presets: Path) -> dict[str, dict[str, str]]:
    """group -> choice -> the first comment line of its file."""
    if not (presets / "config.yaml").is_file():
        raise UserError(f"there are no presets at {presets}; run this in the repository's root folder")
    found: dict[str, dict[str, str]] = {}
    for file in sorted(each for each in presets.glob("*/*.yaml") if each.is_file()):
        found.setdefault(file.parent.name, {})[file.stem] = _first_comment(file)
    return found


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """{"train": {"steps": 2}} -> {"train.steps": 2}"""
    if not isinstance(values, dict):
        return {prefix: values}
    nested = (flatten(value, f"{prefix}.{name}" if prefix else str(name)) for name, value in values.items())
    return {field: value for part in nested for field, value in part.items()}


def _hydra(presets: Path, choices: list[str]) -> Any:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    try:
        with initialize_config_dir(str(presets.resolve()), version_base="1.3"):
            return hydra_compose("config", overrides=choices)
    except Exception as error:  # of Hydra, or of its reader of YAML
        said = " ".join((str(error) or str(error.__cause__)).split())
        raise UserError(f"conf/ does not compose: {said}") from None


def _equal_width(*, _root_: Any) -> int:
    """`${equal_width:}` in conf/."""
    return int(importlib.import_module("gptcore.model.sizes").equal_width(_root_))


def _first_comment(preset: Path) -> str:
    """The first comment line of a preset, ignoring Hydra's `# @package` line."""
    comments = (line[1:].strip() for line in preset.read_text("utf-8", "replace").splitlines() if line.startswith("#"))
    return next((comment for comment in comments if not comment.startswith("@")), "")


def _check_across(sections: dict[str, Any]) -> None:
    """Check constraints between sections. Raises UserError."""
    named = {"tokenize.tokenizer": sections["tokenize"].tokenizer, "baseline.source": sections["baseline"].source}
    for field, value in named.items():
        if value == "start" and not sections["train"].start:
            raise UserError(f"params.yaml: {field} is start, and there is none: set train.start, as in {EXAMPLE}")
    sections["gate"].require(sections["evaluate"].tasks)
    if sections["lora"].rank:
        sections["lora"].require_start(sections["train"].start)
        sections["lora"].require_fits(sections["model"])
    trained = {"train": ("model", sections["model"])}
    if sections["baseline"].source == "train":
        trained["baseline"] = ("baseline.model", sections["baseline"].model)
    for section, (name, model) in trained.items():
        tokens, length = sections[section].batch_tokens, model.block_size
        if tokens % length:
            raise UserError(
                f"params.yaml: {section}.batch_tokens {tokens} is not a multiple of {name}.block_size {length}"
            )
        for measure in ("curve", "evaluate"):
            if (window := sections[measure].block_size) > length:
                raise UserError(
                    f"params.yaml: {measure}.block_size {window} is longer than {name}.block_size {length}; "
                    "it must fit both models"
                )


def _ordered(values: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    return {name: _ordered(values[name], like[name]) if isinstance(like[name], dict) else values[name] for name in like}
