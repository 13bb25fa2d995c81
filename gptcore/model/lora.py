"""LoRA: a trained product of two thin matrices is added to a frozen one (Hu et al. 2021, arXiv 2106.09685).

`adapt` turns a GPT into one that trains its adapter alone. `merged` adds the products to the matrices: a plain GPT that
computes the same.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gptcore.model.dropout import dropout
from gptcore.model.fill import fill
from gptcore.model.gpt import GPT
from gptcore.model.layers import Linear
from gptcore.model.lora_config import MATRICES, LoraConfig
from gptcore.model.nf4 import NF4Linear

A, B = "lora_A", "lora_B"  # as peft calls them


class Adapted(nn.Module):
    """base(x) + scale B A x, where only A and B are trained.

    Of the `of` equal parts of the base's rows (q, k and v of a fused matrix), those in `parts` have factors of their
    own: `lora_A` stacks the A of each, `lora_B` holds the B of each.
    """

    def __init__(
        self, base: Linear | NF4Linear, rank: int, scale: float, rate: float, parts: list[int], of: int
    ) -> None:
        super().__init__()
        self.base, self.rank, self.scale, self.rate, self.parts, self.of = base, rank, scale, rate, parts, of
        self.lora_A = nn.Parameter(torch.empty(len(parts) * rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(len(parts), base.out_features // of, rank))

    def forward(self, x: Tensor) -> Tensor:
        low = F.linear(dropout(x, self.rate if self.training else 0.0), self.lora_A)
        return torch.add(self.base(x), F.linear(low, self.wide(self.lora_B)), alpha=self.scale)

    def wide(self, lora_B: Tensor) -> Tensor:
        """The B (out, parts * rank) of the whole matrix: each part's own B at its rows and its columns, else zeros."""
        if self.of == 1:
            return lora_B[0]
        rows = list(lora_B.new_zeros(self.of, lora_B.size(1), len(self.parts) * self.rank))
        for number, part in enumerate(self.parts):
            after = len(self.parts) - 1 - number
            rows[part] = F.pad(lora_B[number], (number * self.rank, after * self.rank))
        return torch.cat(rows)


def adapt(model: GPT, config: LoraConfig, seed: int) -> None:
    """Freeze `model` in place, and give an adapter to the matrices that `config` names. Raises UserError.

    It computes the same as before until it is trained, except for the rounding of base nf4.
    """
    config.require_fits(model.config)
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    for block in model.h:
        for name, targets in MATRICES.items():
            base = block.get_submodule(name)
            assert isinstance(base, Linear)
            frozen = NF4Linear(base) if config.base == "nf4" else base
            held: nn.Module = frozen
            if parts := [part for part, target in enumerate(targets) if target in config.targets]:
                scale = config.alpha / config.rank
                adapted = Adapted(frozen, config.rank, scale, config.dropout, parts, len(targets))
                bound = base.in_features**-0.5  # of the authors' code
                adapted.lora_A.data.uniform_(-bound, bound, generator=generator)
                held = adapted
            block.set_submodule(name, held.train(base.training))


def trained(model: GPT) -> dict[str, Tensor]:
    """The parameters that are trained: an adapter's, or all."""
    return {name: each for name, each in model.named_parameters() if each.requires_grad}


def factors(model: GPT, tensors: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor, float]]:
    """A (r, in), B (out, r) and the scale of each matrix that has an adapter, from `tensors`, named as the model's."""
    return {
        name: (tensors[f"{name}.{A}"], module.wide(tensors[f"{name}.{B}"]), module.scale)
        for name, module in model.named_modules()
        if isinstance(module, Adapted)
    }


@torch.no_grad()
def merged_weights(model: GPT, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters of a plain GPT that computes what `model` does with `tensors`, its trained parameters."""
    found = {}
    for name, each in model.named_parameters():
        if not name.endswith((A, B)):
            found[name.replace(".base.", ".")] = tensors.get(name, each)
    for name, module in model.named_modules():
        if isinstance(module, NF4Linear):
            found[f"{name.removesuffix('.base')}.weight"] = module.weight
    for name, (a, b, scale) in factors(model, tensors).items():
        weight = found[f"{name}.weight"]
        found[f"{name}.weight"] = torch.add(weight, (b @ a).to(weight.device), alpha=scale)
    return found


def merged(model: GPT) -> GPT:
    """A plain GPT that computes the same, in evaluation mode. It shares what has no adapter; or `model` itself."""
    if not any(isinstance(each, Adapted) for each in model.modules()):
        return model
    weights = merged_weights(model, trained(model))
    plain = fill(GPT(model.config, model.vocab_size, seed=None), weights, Path("the model with its adapter"))
    return plain.to(model.wte.weight.device)
