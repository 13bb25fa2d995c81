"""A model that can be served: what it is called, its weights' hash, and a trial of it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from gptcore.config.settings import settings
from gptcore.errors import UserError
from gptcore.files import SUMS, read_sums
from gptcore.generation.complete import FEWEST_SLOTS
from gptcore.generation.engine import Engine
from gptcore.generation.sampling import Sampling
from gptcore.generation.sequence import Request
from gptcore.model.folder import load_export
from gptcore.model.gpt import GPT
from gptcore.model.int8 import to_int8
from gptcore.registry.lineage import named
from gptcore.registry.tracking import Registry, opened_in
from gptcore.registry.verify import WEIGHTS
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.weights.open_model import REGISTERED, open_model


@dataclass(frozen=True)
class Served:
    """`number` of the version in the registry; 0 of a model from elsewhere, which is never swapped."""

    name: str
    number: int
    sha256: str
    gpt: GPT
    tokenizer: Tokenizer
    int8: bool = False

    @property
    def title(self) -> str:
        return f"{self.name} version {self.number}" if self.number else self.name

    @property
    def fingerprint(self) -> str:
        return f"{self.name}/{self.number}-{self.sha256}{'-int8' * self.int8}"


def alias_of(source: str) -> str | None:
    """The alias that a source names and that may move: `gpt@champion`. A version (`gpt@3`) stays what it is."""
    found = None if Path(source).exists() else REGISTERED.fullmatch(source)
    return found[1] if found and not found[1].isdecimal() else None


@contextmanager
def registry() -> Iterator[Registry]:
    with opened_in(Path.cwd()) as found:
        yield found


def open_served(source: str, int8: bool = False) -> Served:
    """Raises UserError if it cannot be served: it is damaged, is no model, or computes NaN."""
    found = None if Path(source).exists() else REGISTERED.fullmatch(source)
    served = _of_registry(found[1]) if found else _of_elsewhere(source)
    served.gpt.to(settings().torch_device())
    if int8:
        served = replace(served, gpt=to_int8(served.gpt), int8=True)
    _try(served)
    return served


def _of_registry(reference: str) -> Served:
    with registry() as opened:
        version, _ = named(opened.versions(), reference)
        with opened.export(version.number) as folder:
            gpt, tokenizer = load_export(folder)
            sha256 = read_sums(folder).get(WEIGHTS, "")
    if version.tags.get("model_sha256") != sha256:
        raise UserError(f"the weights of gpt version {version.number} are not those that its tag model_sha256 names")
    return Served("gpt", version.number, sha256, gpt, tokenizer)


def _of_elsewhere(source: str) -> Served:
    gpt, tokenizer = open_model(source)
    folder = Path(source)
    if (folder / SUMS).is_file():
        return Served(folder.name or "gpt", 0, read_sums(folder)[WEIGHTS], gpt, tokenizer)
    digest = hashlib.sha256()
    for name, tensor in gpt.state_dict().items():
        digest.update(name.encode() + tensor.detach().contiguous().view(torch.uint8).numpy().tobytes())
    return Served(folder.name, 0, digest.hexdigest(), gpt, tokenizer)


def _try(served: Served) -> None:
    """Draw two ids: what fails here would fail in the midst of requests."""
    engine = Engine(served.gpt, FEWEST_SLOTS, served.tokenizer.unsayable_ids)
    drawn = engine.submit(Request((0,), 2, Sampling(temperature=0)))
    while engine.busy:
        engine.step()
    if drawn.finish == "error":
        raise UserError(f"{served.title} computes NaN or infinity")
    served.tokenizer.decode(drawn.ids)
