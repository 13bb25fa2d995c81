"""Open a model under any of its names: a version of the registry, a folder, a checkpoint, or a name on the hub."""

import re
from pathlib import Path

from gptcore.errors import UserError
from gptcore.files import SUMS
from gptcore.model.folder import load_export
from gptcore.model.gpt import GPT
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.weights.adapter import add_adapter
from gptcore.weights.hub import SHORT, is_hub_name
from gptcore.weights.with_tokenizer import read_with_tokenizer

REGISTERED = re.compile(r"(?:models:/)?gpt[@/](.+)")


def open_model(source: str, tokenizer: Path | None = None, adapter: Path | None = None) -> tuple[GPT, Tokenizer]:
    """The model on the CPU, in evaluation mode, and its tokenizer. A path that is there comes before other meanings.

    `tokenizer` names the tokenizer.json of a checkpoint that has none; `adapter` is a folder with an adapter of that
    model, which is added to it. Raises UserError.
    """
    return fitted_model(source, tokenizer, adapter)[:2]


def fitted_model(
    source: str, tokenizer: Path | None = None, adapter: Path | None = None
) -> tuple[GPT, Tokenizer, list[str]]:
    """The same, and a line for each thing that was changed so that the two fit."""
    model, known, changes = _opened(source, tokenizer)
    if adapter:
        add_adapter(model, adapter)
    return model, known, changes


def _opened(source: str, tokenizer: Path | None) -> tuple[GPT, Tokenizer, list[str]]:
    path = Path(source)
    is_folder = (path / SUMS).is_file()
    named = None if path.exists() else REGISTERED.fullmatch(source)
    if tokenizer and (is_folder or named):
        raise UserError(f"{source} has its own tokenizer; leave --tokenizer out")
    if is_folder:
        return *load_export(path), []
    if named:
        return *_registered(named[1]), []
    if not path.exists() and not is_hub_name(source):
        raise UserError(
            f"there is no model {source}: name a model folder such as data/model/best, a Hugging Face folder, "
            f"a ckpt.pt, a version such as gpt@champion, owner/name on the hub, or one of {', '.join(SHORT)}"
        )
    return read_with_tokenizer(source, tokenizer)


def _registered(reference: str) -> tuple[GPT, Tokenizer]:
    from gptcore.registry.lineage import named
    from gptcore.registry.tracking import opened_in  # imports mlflow, 2 s

    with opened_in(Path.cwd()) as registry:
        version, _ = named(registry.versions(), reference)
        with registry.export(version.number) as folder:
            return load_export(folder)
