"""The only reader of params.yaml: each argument of a stage function is the section of that name, validated."""

import errno
import inspect
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from gptcore.errors import (
    MISTAKE_EXIT_CODE,
    STOPPED_EXIT_CODE,
    UNAVAILABLE_EXIT_CODE,
    Stopped,
    Unavailable,
    UserError,
)
from gptcore.files import write_json

Kind = TypeVar("Kind", bound=BaseModel)
STREAM = "stream.json"  # beside documents and tokens where training goes on with a stream; gptcore/stream.py


class Section(BaseModel):
    """A section of params.yaml: every value changes the result. No defaults here; presets in conf/ give values."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class View(BaseModel):
    """Some values of a section that another stage owns; the stage depends on these alone."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Metrics(BaseModel):
    """What a stage reports; written as its metrics JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Paths:
    """Where everything of one workspace lies; `root` is the folder of dvc.yaml."""

    root: Path

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def raw(self) -> Path:
        return self.root / "data" / "raw"

    @property
    def tokens(self) -> Path:
        return self.root / "data" / "tokens"

    @property
    def model(self) -> Path:
        return self.root / "data" / "model"

    @property
    def baseline(self) -> Path:
        return self.root / "data" / "baseline"

    @property
    def evaluation(self) -> Path:
        return self.root / "data" / "evaluation"

    @property
    def scratch(self) -> Path:
        """What makes a rerun cheaper but is no result: downloads, resume state. Untracked by git and DVC."""
        return self.root / "data" / "scratch"

    def of(self, stage: str) -> Path:
        """The folder that `stage` writes."""
        folders = {"download": self.raw, "tokenize": self.tokens, "train": self.model,
                   "baseline": self.baseline, "evaluate": self.evaluation}  # fmt: skip
        return folders[stage]


def read_params(path: Path) -> dict[str, Any]:
    """params.yaml as plain values (YAML 1.2, as DVC reads it). Raises UserError."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        values = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.name} is missing; `gptcore configure model=nano` writes one") from None
    except YAMLError as error:
        raise UserError(f"{path.name} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path.name} must hold sections such as `train:`; `gptcore configure model=nano` writes one")
    return values


def stage_sections(stage: Callable[..., Metrics]) -> dict[str, type[BaseModel]]:
    """The sections a stage depends on: its arguments, `paths` apart."""
    hints = inspect.get_annotations(stage, eval_str=True)
    return {name: kind for name, kind in hints.items() if name not in ("paths", "return")}


def validate_section(values: dict[str, Any], name: str, kind: type[Kind]) -> Kind:
    """Raises UserError that names each wrong field and what is allowed."""
    if name not in values:
        raise UserError(f"params.yaml has no section `{name}`; `gptcore configure model=nano` writes a whole file")
    try:
        # through JSON: there a list is a fine tuple, while strictness still tells 1 from "1" and true
        return kind.model_validate_json(json.dumps(values[name]))
    except ValidationError as error:
        raise UserError("; ".join(_explain(name, kind, one) for one in error.errors())) from None


def _explain(section: str, kind: type[BaseModel], error: Any) -> str:
    field = ".".join([section, *map(str, error["loc"])])
    if error["type"] == "extra_forbidden":
        return f"params.yaml: {field} is unknown; known are {', '.join(_fields_beside(kind, error['loc']))}"
    if error["type"] == "missing":
        return f"params.yaml: {field} is missing"
    message = error["msg"].removeprefix("Value error, ")
    got = f", got {error['input']!r}" if error["loc"] and not isinstance(error["input"], dict) else ""
    return f"params.yaml: {field}: {message[0].lower()}{message[1:]}{got}"


def _fields_beside(kind: type[BaseModel], location: tuple[str, ...]) -> list[str]:
    """The fields that the last name of `location` could have been, sections inside a section included."""
    for name in location[:-1]:
        kind = cast("type[BaseModel]", kind.model_fields[name].annotation)
    return list(kind.model_fields)


def run_stage(stage: Callable[..., Metrics], start_ranks: Callable[[str], None] = lambda stage: None) -> None:
    """Run a stage in the current folder: sections in, metrics out. Exits 2 on a user's mistake, 69 when something
    outside does not answer, 75 when stopped.

    `start_ranks` (gptcore.distributed) makes this process one of several; the first of them writes the metrics.
    """
    paths = Paths(Path.cwd())
    name = stage.__name__
    try:
        values = read_params(paths.params)
        sections = {key: validate_section(values, key, kind) for key, kind in stage_sections(stage).items()}
        start_ranks(name)
        metrics = stage(**sections, paths=paths)
        if os.environ.get("RANK", "0") == "0":
            write_json(paths.of(name) / "metrics.json", metrics.model_dump(mode="json"))
    except Unavailable as error:
        _exit(f"error: {name}: {error}", UNAVAILABLE_EXIT_CODE)
    except UserError as error:
        _exit(f"error: {name}: {error}", MISTAKE_EXIT_CODE)
    except Stopped as stopped:
        _exit(f"{name}: {stopped}", STOPPED_EXIT_CODE)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = error.filename or paths.of(name)
        _exit(f"error: {name}: the disk is full at {where}; free some space and run it again", MISTAKE_EXIT_CODE)


def _exit(line: str, code: int) -> None:
    if os.environ.get("LOCAL_RANK", "0") == "0":  # once a machine
        print(line, file=sys.stderr, flush=True)
    raise SystemExit(code)
