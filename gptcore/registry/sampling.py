"""The parameters of a served model's `predict`: their defaults, their ranges, and the check of a request."""

from collections.abc import Sequence
from typing import Any

from gptcore.errors import UserError
from gptcore.generation.sampling import check_prompt

SAMPLING: dict[str, int | float] = {"n_tokens": 200, "temperature": 0.8, "top_k": 50, "seed": 0}

LIMITS: dict[str, tuple[float, float]] = {
    "n_tokens": (0, 100_000),
    "temperature": (0.001, 1000),  # or 0; below it, logits divided by it are infinite in float32
    "top_k": (0, 2**31 - 1),
    "seed": (-(2**63), 2**63 - 1),  # MLflow's
}


def check_prompts(prompts: Sequence[str]) -> None:
    """Raise UserError for a prompt that is not text, before any is gone on from."""
    for number, prompt in enumerate(prompts, start=1):
        check_prompt(prompt, number)


def checked(params: dict[str, Any]) -> dict[str, Any]:
    """All parameters of a request, defaults for those left out. Raises UserError that names the wrong one."""
    if unknown := [name for name in params if name not in SAMPLING]:
        raise UserError(unknown_names(unknown))
    values = {**SAMPLING, **params}
    for name, value in values.items():
        _check(name, value)
    return values


def unknown_names(names: Sequence[str]) -> str:
    return f"there is no parameter {', '.join(names)}; there are {', '.join(SAMPLING)}"


def _check(name: str, value: Any) -> None:
    low, high = LIMITS[name]
    is_number = isinstance(value, int | float if isinstance(SAMPLING[name], float) else int)
    if is_number and not isinstance(value, bool) and (low <= value <= high or value == 0):
        return
    zero, given = "0 or " if low > 0 else "", "null" if value is None else value
    raise UserError(f"{name} must be {zero}a number from {low:,} to {high:,}; it is {given}")
