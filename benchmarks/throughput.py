"""Tokens per second of forward, backward and optimizer step: nanoGPT's own step against ours, same model and batch.

Where the processor multiplies bfloat16, each row is printed for float32 on both sides, for bfloat16 on both sides, and
for each side's best.
"""

import statistics
from pathlib import Path

import numpy as np
from contest import Contest, Measured, Medians, comparisons
from sides import Setting, gptcore_side, nanogpt_side, timed

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
    return {"tokens_per_second": size.batch_tokens / seconds, "step_seconds": seconds}


def report(medians: Medians) -> list[str]:
    return [
        f"{setting:16} tokens/s: {line}"
        for setting, measured in medians.items()
        for line in comparisons(measured, "tokens_per_second", max)
    ]


if __name__ == "__main__":
    Contest(__file__, __doc__ or "", measure, ["nanogpt", "gptcore"], list(SETTINGS)).run(report)
