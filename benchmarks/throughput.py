"""Tokens per second of forward, backward and optimizer step: nanoGPT's own step against ours, same model and batch."""

import statistics
from pathlib import Path

import numpy as np
from contest import Contest, Measured
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
    size, steps = SETTINGS[setting], STEPS[setting]
    tokens = np.random.default_rng(0).integers(0, size.vocab_size, 1_000_000).astype(np.uint16)
    if side == "gptcore":
        contestant = gptcore_side("gpt2", size, tokens, 1000)
    else:
        contestant = nanogpt_side(nanogpt_folder, size, tokens, 1000)
    timed(contestant, 2)
    seconds = statistics.median(timed(contestant, steps))
    return {"tokens_per_second": size.batch_tokens / seconds, "step_seconds": seconds}


def report(medians: dict[str, dict[str, Measured]]) -> list[str]:
    ratios = {
        name: sides["gptcore"]["tokens_per_second"] / sides["nanogpt"]["tokens_per_second"]
        for name, sides in medians.items()
    }
    return [f"ratio {name}: {ratio:.2f}" for name, ratio in ratios.items()]


if __name__ == "__main__":
    Contest(__file__, __doc__ or "", measure, ["nanogpt", "gptcore"], list(SETTINGS)).run(report)
