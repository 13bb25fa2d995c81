"""Read and write an adapter in peft's form: adapter_config.json and adapter_model.safetensors.

peft loads one of a plain GPT-2 over transformers' GPT2LMHeadModel; other architectures have the same two files. The
config's `revision` is the sha256 of the base's model.safetensors, as `gptcore import` writes it.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gptcore.errors import UserError
from gptcore.files import read_json, write_json
from gptcore.model.folder import weights_sha256
from gptcore.model.gpt import GPT
from gptcore.model.lora import factors
from gptcore.model.lora_config import MATRICES, LoraConfig
from gptcore.model.nf4 import rounded

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model.transformer."
NAMED = re.compile(r"base_model\.model\.(?:transformer\.)?(h\.\d+\.(?:attn|mlp)\.\w+)\.lora_([AB])\.weight")
# options of peft's LoraConfig beyond a product that is added, each with the values that can be read
SWITCHES: dict[str, list[Any]] = {
    "peft_type": ["LORA"], "bias": ["none"], "use_dora": [False, None], "use_rslora": [False, None],
    "modules_to_save": [None, []], "lora_bias": [False, None], "alora_invocation_tokens": [None],
}  # fmt: skip


@dataclass(frozen=True)
class Adapter:
    base_sha256: str
    base: str  # as lora.base
    factors: dict[str, tuple[Tensor, Tensor, float]]  # A (r, in), B (out, r) and scale of each matrix


def write_adapter(model: GPT, tensors: dict[str, Tensor], config: LoraConfig, base_sha256: str, folder: Path) -> None:
    """Write the two files into `folder`; `tensors` are the trained parameters of `model`, which `adapt` has adapted."""
    found = factors(model, tensors)
    # a fused matrix has the rank of its adapted parts together, and the same alpha / rank
    ranks = {name.split(".", 2)[2]: len(a) for name, (a, _, _) in found.items()}
    values = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "inference_mode": True, "bias": "none",
        "base_model_name_or_path": None, "revision": base_sha256,
        "r": config.rank, "lora_alpha": config.alpha, "lora_dropout": config.dropout,
        "target_modules": sorted(ranks), "rank_pattern": ranks,
        "alpha_pattern": {name: config.alpha / config.rank * rank for name, rank in ranks.items()},
        "fan_in_fan_out": True,  # transformers' GPT-2 has its matrices transposed
    }  # fmt: skip
    written = {}
    for name, (a, b, _) in found.items():
        for letter, each in (("A", a), ("B", b)):
            written[f"{PREFIX}{name}.lora_{letter}.weight"] = each.detach().cpu().contiguous()
    save_file(written, folder / WEIGHTS, metadata={"base": config.base})  # safetensors writes several in any order
    write_json(folder / CONFIG, values)


def read_adapter(folder: Path) -> Adapter:
    """Raises UserError when it holds none, or one that is more than a product added to a block's matrices."""
    try:
        values = read_json(folder / CONFIG)
        with safe_open(folder / WEIGHTS, "pt") as file:
            base = (file.metadata() or {}).get("base", "float32")
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118  it is no dict
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{folder} holds no adapter that can be read: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{folder / CONFIG} is a {type(values).__name__}, not an object")
    for name, allowed in SWITCHES.items():
        if values.get(name, allowed[-1]) not in allowed:
            raise UserError(f"{folder / CONFIG}: {name} is {values[name]!r}; only {allowed[0]!r} can be read")
    if not values.get("revision"):
        raise UserError(
            f"{folder / CONFIG} does not say which base the adapter belongs to: set its `revision` to the sha256 of "
            "the base's model.safetensors, as `gptcore import` writes it"
        )
    pairs: dict[str, dict[str, Tensor]] = {}
    for name, each in tensors.items():
        if not (found := NAMED.fullmatch(name)) or found[1].split(".", 2)[2] not in MATRICES:
            raise UserError(f"{folder / WEIGHTS}: {name} is no factor of one of {', '.join(MATRICES)}")
        pairs.setdefault(found[1], {})[found[2]] = each
    for key in values.get("alpha_pattern") or {}:  # peft takes it for a regular expression
        if not any(name.endswith(f".{key}") for name in pairs):
            raise UserError(f"{folder / CONFIG}: alpha_pattern names {key}, which is no matrix of it")
    return Adapter(values["revision"], base, {name: _pair(folder, name, pair, values) for name, pair in pairs.items()})


@torch.no_grad()
def add_adapter(model: GPT, folder: Path) -> None:
    """Add the adapter in `folder` to the matrices of `model`, its base. Raises UserError for another base."""
    adapter = read_adapter(folder)
    if (found := weights_sha256(dict(model.named_parameters()))) != adapter.base_sha256:
        raise UserError(
            f"{folder} is an adapter of the model whose weights have sha256 {adapter.base_sha256}; those of this model "
            f"have {found}"
        )
    weights = {name: each.data for name, each in model.named_parameters()}
    if adapter.base == "nf4":
        for name, weight in weights.items():
            if name.startswith("h.") and name.split(".", 2)[2].removesuffix(".weight") in MATRICES:
                weight.copy_(rounded(weight))
    for name, (a, b, scale) in adapter.factors.items():
        if f"{name}.weight" not in weights or weights[f"{name}.weight"].shape != (len(b), a.size(1)):
            raise UserError(f"{folder / WEIGHTS}: the factors of {name} do not fit the base")
        weight = weights[f"{name}.weight"]
        weight.copy_(torch.add(weight, b @ a, alpha=scale))


def _pair(folder: Path, name: str, pair: dict[str, Tensor], values: dict[str, Any]) -> tuple[Tensor, Tensor, float]:
    if len(pair) < 2 or any(each.dim() != 2 for each in pair.values()) or len(pair["A"]) != pair["B"].size(1):
        raise UserError(f"{folder / WEIGHTS}: {name} has no lora_A and lora_B of the same rank")
    if not all(each.isfinite().all() for each in pair.values()):
        raise UserError(f"{folder / WEIGHTS}: the factors of {name} hold NaN or infinity")
    alphas = values.get("alpha_pattern") or {}
    alpha = next((alphas[key] for key in alphas if name.endswith(f".{key}")), values.get("lora_alpha"))
    if not isinstance(alpha, int | float):
        raise UserError(f"{folder / CONFIG}: lora_alpha is {alpha!r}, not a number")
    return pair["A"], pair["B"], alpha / len(pair["A"])
