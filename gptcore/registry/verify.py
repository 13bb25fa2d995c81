"""Whether the files of a version are what was registered, every byte of its model folder."""

from pathlib import Path
from typing import TYPE_CHECKING

from gptcore.errors import Unavailable, UserError
from gptcore.files import SUMS, read_sums, sha256_file
from gptcore.registry.lineage import links

if TYPE_CHECKING:
    from gptcore.registry.tracking import Registry, Version

WEIGHTS = "model.safetensors"


def damages(registry: "Registry", version: "Version") -> str:
    """What is gone or damaged of a version's model folder; empty if nothing is. Raises Unavailable."""
    try:
        with registry.export(version.number) as folder:
            return _damages(folder, version)
    except Unavailable:
        raise
    except UserError as error:
        return str(error)


def _damages(folder: Path, version: "Version") -> str:
    try:
        sums = read_sums(folder)
        found = {name: sha256_file(folder / name) for name in sums}
    except (OSError, ValueError) as error:
        return f"files of gpt version {version.number} are gone: {error}"
    tagged = {WEIGHTS: version.tags.get("model_sha256", found.get(WEIGHTS))}
    wrong = sorted({name for name, sha256 in [*sums.items(), *tagged.items()] if found.get(name) != sha256})
    if not wrong:
        return ""
    return (
        f"{', '.join(wrong)} of gpt version {version.number} is damaged: its sha256 is not the one of {SUMS} and tags"
    )


def remedy(version: "Version", address: str) -> str:
    """How to get the model folder of a version back, if DVC still has it."""
    made = next((link.command for link in links(version, is_embedded=False) if link.what == "data/model/export"), "")
    if "dvc get" not in made:
        return "its tags name no DVC experiment to get it back from"
    return f"get it back with `{made}`, and put it in the place of {address}/artifacts/export"
