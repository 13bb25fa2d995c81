"""Give a model a name that keeps its meaning: a version by its number, and the hash of its weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from gptcore.errors import UserError
from gptcore.files import SUMS, read_json, read_sums
from gptcore.model.config import ModelConfig
from gptcore.model.folder import save_export
from gptcore.weights.hub import lasting_name
from gptcore.weights.open_model import REGISTERED, open_model
from gptcore.weights.trained_on import TrainedOn, trained_on

if TYPE_CHECKING:  # 2 s of imports
    from gptcore.registry.tracking import Registry, Version

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Start:
    """A model to go on from: its lasting name, the hash of its weights, its configuration and its text."""

    name: str
    sha256: str
    model: ModelConfig
    text: TrainedOn | None


def pinned(source: str) -> tuple[str, str]:
    """The lasting name of `source`, and the sha256 of the weights that `gptcore import` makes of it. Raises UserError.

    An alias of the registry becomes the number of the version that has it now, a name on the hub gets its commit.
    """
    if reference := _registered(source):
        with _opened(reference) as (_, version):
            return _name(version), version.tags["model_sha256"]
    with _model_folder(source) as (name, folder):
        return name, read_sums(folder)[WEIGHTS]


def pinned_start(source: str, presets: Mapping[str, Any]) -> Start:
    """The same of the start of a training, with what else it decides. Raises UserError.

    `presets` has the sections that complete those of a version that is older than some of their fields.
    """
    if reference := _registered(source):
        with _opened(reference) as (registry, version), registry.export(version.number) as folder:
            text = trained_on(registry.params(version), version.tags.get("validation_text_sha256", ""), presets)
            return Start(_name(version), read_sums(folder)[WEIGHTS], _config(folder), text)
    with _model_folder(source) as (name, folder):
        return Start(name, read_sums(folder)[WEIGHTS], _config(folder), None)


def _registered(source: str) -> str | None:
    """What names a version of the registry; a path that is there comes before other meanings, as in `open_model`."""
    found = None if Path(source).exists() else REGISTERED.fullmatch(source)
    return found[1] if found else None


@contextmanager
def _model_folder(source: str) -> Iterator[tuple[str, Path]]:
    """The lasting name of `source`, and `source` if it is a model folder; else what `gptcore import` makes of it."""
    if (Path(source) / SUMS).is_file():
        yield source, Path(source)
        return
    name = lasting_name(source)
    with TemporaryDirectory(prefix="gptcore-") as temporary:
        save_export(Path(temporary) / "export", *open_model(name))
        yield name, Path(temporary) / "export"


def _config(folder: Path) -> ModelConfig:
    try:
        values = read_json(folder / "config.json")
        return ModelConfig(**{name: value for name, value in values.items() if name != "vocab_size"})
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{folder} holds no model that can be read: {error}") from None


@contextmanager
def _opened(reference: str) -> "Iterator[tuple[Registry, Version]]":
    """The registry, and its version that the reference names now."""
    from gptcore.registry.lineage import named
    from gptcore.registry.tracking import opened_in  # imports mlflow, 2 s

    with opened_in(Path.cwd()) as registry:
        yield registry, named(registry.versions(), reference)[0]


def _name(version: "Version") -> str:
    return f"models:/gpt/{version.number}"
