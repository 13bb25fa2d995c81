"""Give a model a name that keeps its meaning: a version by its number, and the hash of its weights."""

from pathlib import Path
from tempfile import TemporaryDirectory

from gptcore.files import SUMS, read_sums
from gptcore.model.folder import save_export
from gptcore.weights.open_model import REGISTERED, open_model

WEIGHTS = "model.safetensors"


def pinned(source: str) -> tuple[str, str]:
    """The lasting name of `source`, and the sha256 of the weights that `gptcore import` makes of it. Raises UserError.

    An alias of the registry becomes the number of the version that has it now.
    """
    path = Path(source)
    if (path / SUMS).is_file():
        return source, read_sums(path)[WEIGHTS]
    if not path.exists() and (named := REGISTERED.fullmatch(source)):
        return _version(named[1])
    with TemporaryDirectory() as temporary:
        save_export(Path(temporary) / "export", *open_model(source))
        return source, read_sums(Path(temporary) / "export")[WEIGHTS]


def _version(reference: str) -> tuple[str, str]:
    from gptcore.registry.lineage import named
    from gptcore.registry.tracking import opened_in  # imports mlflow, 2 s

    with opened_in(Path.cwd()) as registry:
        version, _ = named(registry.versions(), reference)
        return f"models:/gpt/{version.number}", version.tags["model_sha256"]
