"""Exact resume state, and the export directory that a trained model is handed on as.

No pickle: tensors in safetensors, the rest in JSON. Every write is whole or not there; every read is checked.
"""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gptcore.errors import UserError
from gptcore.files import atomic_path, read_json, sha256_file, write_json
from gptcore.model import GPT, ModelConfig
from gptcore.tokenizer import Tokenizer

KEPT = 2


def fingerprint(identity: dict[str, Any]) -> str:
    """The name of a run's resume folder: a hash of all that determines its result."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


@dataclass
class Progressed:
    """What a resumed run goes on from, tensors apart. `rows` is the loss curve so far."""

    step: int
    seconds: float
    loss_sum: float
    rows: list[dict[str, Any]]
    samples: list[dict[str, Any]]


def save_checkpoint(folder: Path, identity: dict[str, Any], tensors: dict[str, Tensor], progressed: Progressed) -> None:
    """Write `folder`/step-<step>/ whole, then drop all but the newest `KEPT`."""
    with atomic_path(folder / f"step-{progressed.step:09d}") as temporary:
        temporary.mkdir(parents=True)
        save_file({name: each.detach().contiguous() for name, each in tensors.items()}, temporary / "state.safetensors")
        digest = sha256_file(temporary / "state.safetensors")
        write_json(temporary / "state.json", {"identity": identity, "sha256": digest, "progressed": asdict(progressed)})
    for old in _newest_first(folder)[KEPT:]:
        shutil.rmtree(old)


def load_checkpoint(folder: Path, identity: dict[str, Any]) -> tuple[dict[str, Tensor], Progressed] | None:
    """The newest whole checkpoint of `folder`, or None. A torn or edited one is passed over, and said.

    Raises UserError when it belongs to another run than `identity`.
    """
    for path in _newest_first(folder):
        try:
            state = read_json(path / "state.json")
            if sha256_file(path / "state.safetensors") != state["sha256"]:
                raise ValueError("its hash does not match")
            tensors = load_file(path / "state.safetensors")
            progressed = Progressed(**state["progressed"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            print(f"warning: checkpoint {path} is damaged ({error}); using the one before it", flush=True)
            continue
        if state["identity"] != identity:
            raise UserError(
                f"checkpoint {path} belongs to another run ({_difference(state['identity'], identity)}); "
                f"delete {folder} to start anew"
            )
        return tensors, progressed
    return None


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def _difference(theirs: dict[str, Any], ours: dict[str, Any], prefix: str = "") -> str:
    for key in sorted(theirs.keys() | ours.keys()):
        one, other = theirs.get(key), ours.get(key)
        if isinstance(one, dict) and isinstance(other, dict) and one != other:
            return _difference(one, other, f"{prefix}{key}.")
        if one != other:
            return f"its {prefix}{key} is {one}, this run's is {other}"
    return "no field differs"


def save_export(folder: Path, model: GPT, tokenizer: Tokenizer) -> None:
    """model.safetensors, config.json, tokenizer.json: all that is needed to run the model, and nothing that varies."""
    with atomic_path(folder) as temporary:
        temporary.mkdir(parents=True)
        # a tied head is the same tensor twice and safetensors keeps each once
        tensors = {name: each.detach().cpu().contiguous() for name, each in model.state_dict().items()}
        if model.config.tied_head:
            del tensors["lm_head.weight"]
        save_file(tensors, temporary / "model.safetensors")
        write_json(temporary / "config.json", {"vocab_size": model.vocab_size, **model.config.model_dump()})
        tokenizer.save(temporary / "tokenizer.json")


def load_export(folder: Path, device: torch.device | str = "cpu") -> tuple[GPT, Tokenizer]:
    """The model, in evaluation mode, and its tokenizer. Raises UserError when the folder holds no such model."""
    try:
        values = read_json(folder / "config.json")
        vocab_size = values.pop("vocab_size")
        model = GPT(ModelConfig(**values), vocab_size)
        missing, unexpected = model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
        if unexpected or set(missing) - ({"lm_head.weight"} if model.config.tied_head else set()):
            raise ValueError(f"weights do not fit config.json: {[*missing, *unexpected][:3]}")
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{folder} holds no model that can be read: {error}") from None
    return model.to(device).eval(), Tokenizer.load(folder / "tokenizer.json")
