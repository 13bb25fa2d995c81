"""The ranks' program for test_distributed.py: `python -m tests.support.ranks FOLDER`, with the variables of torchrun.

For each case, the first rank writes losses, weights and text to `FOLDER`.
"""

import os
import sys
from contextlib import redirect_stdout
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from gptcore.config.settings import settings
from gptcore.errors import UserError
from gptcore.evaluation.benchmarks.likelihood import shared_answers
from gptcore.evaluation.benchmarks.requests import Request
from gptcore.evaluation.losses import window_losses
from gptcore.evaluation.tally import tally
from gptcore.model.gpt import GPT
from gptcore.ranks import distributed
from gptcore.ranks.start import start_ranks
from gptcore.tokens.packing import PackedWindows, beginnings
from gptcore.tokens.token_files import PairTokens
from gptcore.training import sharding
from gptcore.training.guard import Copy
from gptcore.training.optim import Muon
from gptcore.training.pair_batches import PairBatches
from gptcore.training.train import StepReport, TrainState, fit
from tests.support.engine import ADAMW, GPT2, MODERN, MUON, model_config, optim_config, some_tokens, train_config

UNCLIPPED = {**MUON, "gradient_clip": 0.0}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str, int]] = {
    "gpt2-ddp": (GPT2, ADAMW, "ddp", 3),
    "gpt2-fsdp": (GPT2, ADAMW, "fsdp", 1),
    "modern-ddp": (MODERN, UNCLIPPED, "ddp", 1),
    "modern-fsdp": (MODERN, UNCLIPPED, "fsdp", 3),
    "modern-hsdp": (MODERN, MUON, "hsdp", 1),
    "modern-ddp-pairs": (MODERN, MUON, "ddp", 1),
}
BEGUN = ("gpt2-ddp", "modern-fsdp")  # with the weights of another model
STEPS, ROWS = 6, 3  # rows divide unevenly over two ranks
LENGTHS = (1_501, 9)  # of texts to evaluate: windows of which ranks have unlike numbers, and a single one
# what wraps the blocks: sharding, recomputed activations, the sliding window, a compiler that needs none of C++
Wrapping = tuple[str, bool, int, str | None]
RECOMPUTES, WINDOWS, COMPILERS = (False, True), (0, 8), (None, "aot_eager")
WRAPPINGS: list[Wrapping] = [  # compiled, which takes seconds, with both of the others or with neither
    each
    for each in product(("one", "ddp", "fsdp"), RECOMPUTES, WINDOWS, COMPILERS)
    if not each[3] or each[1] == bool(each[2])
]


def state_of(case: str, rows: int = ROWS) -> TrainState:
    model, optim, _, micro_batch = CASES[case]
    # with this large eps, a gradient of pure rounding error moves nothing
    optim = {**optim, "adam_eps": 1e-3}
    recipe = train_config(steps=STEPS, batch_tokens=rows * 16)
    config, device = model_config(model), torch.device("cpu")
    start = GPT(config, 50, seed=3) if case in BEGUN else None
    state = TrainState(config, optim_config(optim), recipe, some_tokens(), 50, device, start=start)
    state.micro_batch, state.optimizer.measures = micro_batch, True
    if case.endswith("pairs"):
        state.batches = PairBatches(windows(), rows, "epochs", 7)
    for each in state.optimizer.optimizers:
        if isinstance(each, Muon):
            each.dtype = torch.float32  # bfloat16 would turn a last-bit difference into one of 1/256
    return state


def windows() -> PackedWindows:
    """Records of 3 to 10 tokens, of which the last 1 to 3 are learned, so that rows have unlike numbers of targets."""
    lengths = 3 + some_tokens(400, 8).astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    learned = [np.arange(length) >= length - 1 - number % 3 for number, length in enumerate(lengths)]
    tokens = PairTokens(some_tokens(lengths.sum()), np.concatenate(learned).astype(np.uint8), starts, 0)
    return PackedWindows(tokens, beginnings(starts, len(tokens), 16), 16)


def trained(case: str, resume_at: int = STEPS) -> dict[str, torch.Tensor]:
    """Losses and norms of the gradients of all steps, and on the first rank the full state.

    At `resume_at` a new state resumes from the old one's tensors, then restores the guard's copy.
    """
    state, figures = state_of(case), []
    reports = fit(state)
    for report in reports:
        figures.append(figures_of(state, report))
        if report.step == resume_at:
            tensors = distributed.tensors_from_first(sharding.tensors_on_first(state.tensors()))
            reports.close()
            state = state_of(case)
            state.load_tensors(tensors, resume_at)
            copy = Copy()
            copy.take(state.tensors(), resume_at)
            state.go_back(copy)
            figures += [figures_of(state, each) for each in fit(state)]
    return {"figures": torch.tensor(figures), **sharding.tensors_on_first(state.tensors())}


def figures_of(state: TrainState, report: StepReport) -> list[float]:
    assert state.optimizer.gradient_norm is not None
    return [report.loss, float(state.optimizer.gradient_norm)]


def wrapped(recomputes: bool, window: int, compiler: str | None) -> torch.Tensor:
    """Losses of two steps, and on the first rank all weights after them, in one row."""
    changes = {"residual_scalars": True, "activation_checkpointing": recomputes, "sliding_window": window}
    recipe, optim = train_config(steps=2, batch_tokens=64), optim_config(ADAMW, adam_eps=1e-3, warmup_steps=0)
    state = TrainState(
        model_config(GPT2, **changes), optim, recipe, some_tokens(), 50, torch.device("cpu"), compiler=compiler
    )
    state.micro_batch = 1
    losses = [report.loss for report in fit(state)]
    weights = sharding.tensors_on_first(dict(state.model.named_parameters())).values()
    return torch.cat([torch.tensor(losses), *(each.detach().flatten() for each in weights)])


def evaluated(n_tokens: int) -> dict[str, torch.Tensor]:
    """The sums of all windows, of a text and of pairs, by stage and curve: what a model says of `n_tokens` tokens.

    And its answers to as many requests as there are fifties of them.
    """
    model, window = GPT(model_config(MODERN), 50, seed=3), 16
    text, starts = some_tokens(n_tokens), np.arange(0, n_tokens, 50)
    pairs = windows().tokens
    found = {}
    for name, tokens, begins in (("text", text, starts), ("pairs", pairs, pairs.documents)):
        losses = tally(model, tokens, begins, window, window if name == "pairs" else 8)
        for part in ("windows", "documents", "positions"):
            sums = getattr(losses, part)
            found |= {f"{name}/{part}/losses": sums.losses, f"{name}/{part}/tokens": sums.tokens}
        found[f"{name}/curve"], found[f"{name}/curve/tokens"] = window_losses(model, tokens, window, 5, shared=True)
    requests = [Request(some_tokens(9, seed=each).tolist(), [1] * (each % 3 + 1)) for each in range(n_tokens // 50)]
    with redirect_stdout(StringIO()):  # it shows progress
        answered = [(*each, len(requests)) for each in shared_answers(model, requests, "requests")]
    found["answers"] = np.array(answered, np.float64)
    return {name: torch.from_numpy(each) for name, each in found.items()}


def name_of(wrapping: Wrapping) -> str:
    return "-".join(map(str, wrapping))


def main(folder: Path) -> None:
    start_ranks("ranks")
    for case, (_, _, kind, _) in CASES.items():
        os.environ["GPTCORE_SHARDING"] = kind
        settings.cache_clear()
        tensors = trained(case, resume_at=STEPS // 2)
        if distributed.is_first():
            save_file(tensors, folder / f"{case}.safetensors")
    found = {}
    for kind, *how in WRAPPINGS:
        if kind != "one":
            os.environ["GPTCORE_SHARDING"] = kind
            settings.cache_clear()
            found[name_of((kind, *how))] = wrapped(*how)
    if distributed.is_first():
        save_file(found, folder / "wrapped.safetensors")
    for n_tokens in LENGTHS:
        tensors = evaluated(n_tokens)
        if distributed.is_first():
            save_file(tensors, folder / f"evaluated-{n_tokens}.safetensors")
    try:
        state_of("gpt2-ddp", rows=1)
    except UserError as error:
        (folder / f"refused-{distributed.rank()}").write_text(str(error))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
