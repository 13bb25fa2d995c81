"""The course of every export: refuse, write to a temporary folder, compare, and rename into place only what passes."""

from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from gptcore.errors import UserError
from gptcore.files import atomic_path, sha256_file, write_json
from gptcore.weights.exports.parity import compare
from gptcore.weights.exports.target import Target, require
from gptcore.weights.exports.text import read_text
from gptcore.weights.open_model import open_model

PARITY = "parity.json"


class NotTheSame(Exception):
    """The export does not compute what the model does; nothing of it is kept."""


def export(
    source: str, to: str, out: Path, kind: str = "", text: Path | None = None, tokenizer_file: Path | None = None
) -> dict[str, Any]:
    """Write the folder `out` and return its parity.json. Raises UserError, NotTheSame."""
    if out.exists():
        raise UserError(f"{out} is there already; name a new folder, or remove it")
    target: Target = import_module(f"gptcore.weights.exports.{to}").target(kind)
    require(to, target.packages)
    model, tokenizer = open_model(source, tokenizer_file)
    target.refuse(model.config, tokenizer)
    compared_on = read_text(tokenizer, text)
    compared_on.windows(model.config.block_size)  # whether it is long enough
    with atomic_path(out) as temporary:
        temporary.mkdir(parents=True)
        target.write(temporary, model, tokenizer)
        with target.opened(temporary, model) as consumer:
            parity = compare(model, tokenizer, consumer, compared_on)
        if faults := parity.faults(target.limits):
            raise NotTheSame(f"{consumer.name} {consumer.version} does not compute what {source} does: {faults[0]}")
        files = sorted(each for each in temporary.rglob("*") if each.is_file())
        found = {
            "model": source, "to": to, "type": kind or None,
            "consumer": {"name": consumer.name, "version": consumer.version},
            **asdict(parity), "limits": asdict(target.limits), "bytes": sum(each.stat().st_size for each in files),
            "sha256": {str(each.relative_to(temporary)): sha256_file(each) for each in files},
        }  # fmt: skip
        write_json(temporary / PARITY, found)
    return found
