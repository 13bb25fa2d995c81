"""Parameter groups, AdamW and Muon, and learning-rate schedules as pure functions of the step."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.amp import GradScaler

from gptcore.model.gpt import GPT
from gptcore.model.lora import trained
from gptcore.model.lora_config import LoraConfig
from gptcore.ranks import distributed
from gptcore.training.config import OptimConfig
from gptcore.training.sharding import laid_out_as, own_part, whole

NEWTON_SCHULZ_STEPS = 5
A, B, C = 3.4445, -4.7750, 2.0315  # Jordan et al. 2024: coefficients that raise small singular values fast

NO_SCALER = GradScaler("cpu", enabled=False)  # does nothing


def learning_rate_factor(config: OptimConfig, step: int, steps: int) -> float:
    """Fraction of the peak learning rate at `step` (0-based) of `steps`."""
    floor = config.final_learning_rate_fraction
    if step < config.warmup_steps:
        return (step + 1) / (config.warmup_steps + 1)
    if config.schedule == "cosine":  # nanoGPT train.py, get_lr
        progress = (step - config.warmup_steps) / max(steps - config.warmup_steps, 1)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
    cooldown_steps = max(round(config.cooldown_fraction * steps), 1)
    return min(1.0, floor + (1 - floor) * (steps - step) / cooldown_steps)


def muon_momentum(config: OptimConfig, step: int) -> float:
    warmed = min(step / config.muon_momentum_warmup_steps, 1.0) if config.muon_momentum_warmup_steps else 1.0
    return 0.85 + (config.muon_momentum - 0.85) * warmed


def orthogonalize(matrices: Tensor) -> Tensor:
    """Approximate the nearest semi-orthogonal matrices of a stack (N, rows, columns) by five Newton-Schulz steps.

    Jordan et al. 2024, Muon: singular values end up between about 0.7 and 1.2.
    """
    tall = matrices.size(1) > matrices.size(2)
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    if x.dtype == torch.float32 and x.size(2) >= 2 * x.size(1):
        x = _newton_schulz_by_gram(x)
    else:
        for _ in range(NEWTON_SCHULZ_STEPS):
            gram = x @ x.mT
            x = torch.baddbmm(x, _quadratic(gram), x, beta=A)
    return x.mT if tall else x


def _newton_schulz_by_gram(x: Tensor) -> Tensor:
    """The same steps on the square Gram matrix: x is multiplied twice, not three times a step.

    Each step multiplies x from the left by p = A + B gram + C gram^2, and so the Gram matrix becomes p gram p. Rounding
    errors add up over the steps: float32 has room for them, bfloat16 has not.
    """
    gram, product = x @ x.mT, None
    for step in range(NEWTON_SCHULZ_STEPS):
        p = _quadratic(gram)
        p.diagonal(dim1=1, dim2=2).add_(A)
        product = p if product is None else p @ product
        if step < NEWTON_SCHULZ_STEPS - 1:
            gram = p @ gram @ p
    assert product is not None
    return product @ x


def _quadratic(gram: Tensor) -> Tensor:
    return torch.baddbmm(gram, gram, gram, beta=B, alpha=C)


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalized (Jordan et al. 2024), with cautious weight decay (Chen et al. 2025).

    Matrices of the same shape go through Newton-Schulz as one stack: a small model's step is bound by the number of
    calls, not by arithmetic. A fused query-key-value matrix is treated as three matrices. Over several ranks, each one
    orthogonalizes its share of a stack; the momentum of a sharded matrix stays sharded.
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, momentum: float, weight_decay: float, dtype: torch.dtype
    ) -> None:
        super().__init__(list(parameters), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes: dict[tuple[int, int], list[Tensor]] = {}
            for parameter in group["params"]:
                shapes.setdefault(_part_shape(parameter), []).append(parameter)
            for shape, parameters in shapes.items():
                self._step_stack(group, shape, parameters)

    def _step_stack(self, group: dict[str, Any], shape: tuple[int, int], parameters: list[Tensor]) -> None:
        for each in parameters:
            if "momentum" not in self.state[each]:
                self.state[each]["momentum"] = torch.zeros_like(each)
        gradients = [own_part(each.grad) for each in parameters if each.grad is not None]
        momenta = [own_part(self.state[each]["momentum"]) for each in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        nesterov = torch._foreach_lerp(gradients, momenta, group["momentum"])
        updates = [
            whole(laid_out_as(update, parameter)).view(-1, *shape)
            for parameter, update in zip(parameters, nesterov, strict=True)
        ]
        stack = distributed.shared_out(orthogonalize, torch.cat(updates).to(self.dtype)).float()
        # equal root mean square per entry for every shape (Jordan's max(1, rows/columns) rule)
        stack *= math.sqrt(max(1.0, shape[0] / shape[1]))
        for parameter, update in zip(parameters, stack.split([len(each) for each in updates]), strict=True):
            update, own = own_part(laid_out_as(update.reshape(parameter.shape), parameter)), own_part(parameter)
            if group["weight_decay"]:
                agree = (update * own) > 0
                own.addcmul_(own, agree, value=-group["lr"] * group["weight_decay"])
            own.add_(update, alpha=-group["lr"])


def _part_shape(parameter: Tensor) -> tuple[int, int]:
    rows, columns = parameter.shape
    return (rows // 3, columns) if rows == 3 * columns else (rows, columns)


class Optimizer:
    """The optimizers of all parameters, and their schedule."""

    def __init__(
        self, config: OptimConfig, model: GPT, steps: int, dtype: torch.dtype = torch.float32,
        lora: LoraConfig | None = None,
    ) -> None:  # fmt: skip
        """`dtype` is that of the run's matrix products; Muon's are in bfloat16 if these are, otherwise in float32.

        With `lora`, the parameters are an adapter's, and AdamW's: no factor of a product is a matrix to orthogonalize.
        """
        self.config, self.steps = config, steps
        self.peak = lora.learning_rate if lora else config.matrix_learning_rate  # of most parameters
        named = trained(model)
        matrices = {name: each for name, each in named.items() if name.startswith("h.") and each.dim() == 2}
        # positions and bigrams are added to a tied head: parts of one sum must grow together, or one drowns the others
        head = ("wte", "wpe", "wbe") if model.config.tied_head else ("lm_head",)
        heads = {name: each for name, each in named.items() if name.startswith(head)}
        tables = {
            name: each
            for name, each in named.items()
            if name.startswith(("wte", "wpe", "wbe", "wve")) and name not in heads
        }
        scalars = {name: each for name, each in named.items() if name not in matrices | heads | tables}
        groups = [
            (tables, config.embedding_learning_rate, config.embedding_weight_decay),
            (heads, config.head_learning_rate, config.embedding_weight_decay),
            (scalars, config.scalar_learning_rate, 0.0),
        ]
        self.optimizers: list[torch.optim.Optimizer] = []
        if lora:
            groups = [(named, lora.learning_rate, 0.0)]
        elif config.matrices == "muon":
            self.optimizers.append(
                Muon(
                    matrices.values(),
                    config.matrix_learning_rate,
                    config.muon_momentum,
                    config.matrix_weight_decay,
                    torch.bfloat16 if dtype == torch.bfloat16 else torch.float32,  # float16 would underflow
                )
            )
        else:
            groups.append((matrices, config.matrix_learning_rate, config.matrix_weight_decay))
        adam_groups = [
            {"params": list(each.values()), "lr": lr, "weight_decay": decay} for each, lr, decay in groups if each
        ]
        self.optimizers.append(torch.optim.AdamW(adam_groups, betas=config.adam_betas, eps=config.adam_eps, fused=True))
        for group in self.groups():
            group["peak"] = group["lr"]
        self.parameters, self.together = list(named.values()), _Together(self.optimizers)
        self.measures = False  # whether the next steps tell the norm of the gradients; the same on all ranks
        self.gradient_norm: Tensor | None = None  # of the last step, before clipping; None if it was not measured

    def groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def step(self, step: int, scaler: GradScaler = NO_SCALER) -> float:
        """Apply the gradients at `step` (0-based) and clear them. Returns the learning-rate factor.

        An enabled `scaler` (float16) first unscales the gradients, and skips the whole update if any overflowed.
        """
        factor = learning_rate_factor(self.config, step, self.steps)
        for group in self.groups():
            group["lr"] = group["peak"] * factor
            if "momentum" in group:
                group["momentum"] = muon_momentum(self.config, step)
        scaler.unscale_(self.together)
        self._clip()
        scaler.step(self.together)
        self.together.zero_grad(set_to_none=True)
        scaler.update()
        return factor

    def _clip(self) -> None:
        """Clip the gradients if the recipe does. Tell their norm if that is asked for; nothing waits for the device."""
        clip, self.gradient_norm = self.config.gradient_clip, None
        if not (clip or self.measures):
            return
        norm = torch.nn.utils.get_total_norm([each.grad for each in self.parameters if each.grad is not None])
        if clip:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, clip, norm)
        if self.measures:
            self.gradient_norm = whole(norm)

    def tensors(self, model: GPT) -> dict[str, Tensor]:
        """The moments, named `<parameter>/<moment>`."""
        found = {}
        for name, parameter in model.named_parameters():
            for optimizer in self.optimizers:
                for key, value in optimizer.state.get(parameter, {}).items():
                    found[f"{name}/{key}"] = value
        return found

    def load_tensors(self, model: GPT, tensors: dict[str, Tensor]) -> None:
        parameters = dict(model.named_parameters())
        for name, value in tensors.items():
            path, key = name.rsplit("/", 1)
            parameter = parameters[path]
            owner = next(each for each in self.optimizers if _owns(each, parameter))
            # a fused AdamW keeps its step on the device too
            owner.state[parameter][key] = value.to(parameter.device) if key == "step" else laid_out_as(value, parameter)


class _Together(torch.optim.Optimizer):
    """Several optimizers as one, as a GradScaler decides for each optimizer by itself whether it skips a step."""

    def __init__(self, optimizers: list[torch.optim.Optimizer]) -> None:
        super().__init__([group for each in optimizers for group in each.param_groups], {})
        self.optimizers = optimizers

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for each in self.optimizers:
            each.step()


def _owns(optimizer: torch.optim.Optimizer, parameter: Tensor) -> bool:
    return any(parameter is each for group in optimizer.param_groups for each in group["params"])
