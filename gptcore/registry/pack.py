"""What travels with a version, so that it can be loaded where this checkout is not: its code and its requirements."""

import shutil
from importlib.metadata import version as installed
from pathlib import Path

from gptcore.closure import PACKAGE, closure
from gptcore.files import read_json

SERVED = "gptcore.registry.pyfunc"
REQUIREMENTS = ("torch", "numpy", "pydantic", "safetensors", "tiktoken")
OF_TOKENIZERS = {"sentencepiece": "sentencepiece", "huggingface": "tokenizers"}  # kind: what it needs besides


def copy_code(folder: Path) -> Path:
    """Copy the modules that serving imports into `folder`, as a package `gptcore` of their own; returns its path."""
    for module in map(Path, closure(SERVED)):
        packages = [parent / "__init__.py" for parent in module.parents if parent.name]
        for path in (module, *packages):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PACKAGE.parent / path, folder / path)
    return folder / PACKAGE.name


def requirements(export: Path) -> list[str]:
    """What pip must install to serve `export`: the versions here, without the build (`+cpu`) that no index carries."""
    more = OF_TOKENIZERS.get(read_json(export / "tokenizer.json")["kind"])
    names = [*REQUIREMENTS, more] if more else REQUIREMENTS
    return [f"{name}=={installed(name).partition('+')[0]}" for name in names]
