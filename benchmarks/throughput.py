"""Tokens per second of forward, backward and optimizer step: nanoGPT's own step against ours, same model and batch.

Where the processor multiplies bfloat16, each row is printed for float32 on both sides, for bfloat16 on both sides, and
for each side's best. A side's share of the matrix rate is its model's arithmetic a second against that of a large
matrix product, measured in the same process, as `gptcore profile` prints it.
"""

import statistics
from pathlib import Path

import numpy as np
import torch
from contest import Contest, Measured, Medians, comparisons
from sides import Setting, device, gptcore_side, nanogpt_side, timed

from gptcore.training.hardware import measured_flops_per_second

SETTINGS = {
    # nanoGPT's config/train_shakespeare_char.py, with and without dropout
    "baby": Setting(n_layer=6, n_head=6, n_embd=384, block_size=256, batch_size=64, vocab_size=65, dropout=0.2),
    "baby-no-dropout": Setting(n_layer=6, n_head=6, n_embd=384, block_size=256, batch_size=64, vocab_size=65),
    # its CPU recipe, with GPT-2's vocabulary padded as nanoGPT does
    "50k": Setting(n_layer=4, n_head=4, n_embd=128, block_size=64, batch_size=12, vocab_size=50304),
}
STEPS = {"baby": 3, "baby-no-dropout": 3, "50k": 20}


def measure(side: str, setting: str, nanogpt_folder: Path | None) -> Measured:
    name, precision = side.split()
    size, steps = SETTINGS[setting], STEPS[setting]
    tokens = np.random.default_rng(0).integers(0, size.vocab_size, 1_000_000).astype(np.uint16)
    if name == "gptcore":
        contestant = gptcore_side("gpt2", size, tokens, 1000, precision)
    else:
        contestant = nanogpt_side(nanogpt_folder, size, tokens, 1000, precision)
    timed(contestant, 2)
    seconds = statistics.median(timed(contestant, steps))
    flops = size.flops_per_token() * size.batch_tokens / seconds
    rate = measured_flops_per_second(device(), getattr(torch, precision))
    return {"tokens_per_second": size.batch_tokens / seconds, "step_seconds": seconds, "matrix_share": flops / rate}


def report(medians: Medians) -> list[str]:
    figures = {"tokens/s": "tokens_per_second", "share of the matrix rate": "matrix_share"}
    return [
        f"{setting:16} {name}: {line}"
        for setting, measured in medians.items()
        for name, figure in figures.items()
        for line in comparisons(measured, figure, max)
    ]


if __name__ == "__main__":
    Contest(__file__, __doc__ or "", measure, ["nanogpt", "gptcore"], list(SETTINGS)).run(report)
