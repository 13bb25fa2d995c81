"""A training step with each block compiled by torch.compile against the eager step, and the compile time."""

import statistics
import time
from pathlib import Path

import numpy as np
from contest import Contest, Measured, Medians
from sides import Setting, gptcore_side, timed

from gptcore.model.gpt import GPT

SETTINGS = {
    "nano": Setting(n_layer=4, n_head=4, n_embd=128, block_size=64, batch_size=32, vocab_size=2048),
    "baby": Setting(n_layer=6, n_head=6, n_embd=384, block_size=256, batch_size=12, vocab_size=65),
}
STEPS = 10


def measure(side: str, setting: str, nanogpt_folder: Path | None) -> Measured:
    name, precision = side.split()
    size = SETTINGS[setting]
    tokens = np.random.default_rng(0).integers(0, size.vocab_size, 1_000_000).astype(np.uint16)
    contestant = gptcore_side("modern", size, tokens, 1000, precision)
    if name == "compiled":
        assert isinstance(contestant.model, GPT)
        contestant.model.compile_blocks()
    started = time.perf_counter()
    timed(contestant, 2)
    warm_up = time.perf_counter() - started
    return {"step_seconds": statistics.median(timed(contestant, STEPS)), "first_two_steps_seconds": warm_up}


def report(medians: Medians) -> list[str]:
    lines = []
    for setting, sides in medians.items():
        (_, eager), (side, compiled) = sides.items()
        gain = eager["step_seconds"] - compiled["step_seconds"]
        cost = compiled["first_two_steps_seconds"] - eager["first_two_steps_seconds"]
        pays = f"pays after {cost / gain:,.0f} steps" if gain > 0 else "never pays"
        ratio = eager["step_seconds"] / compiled["step_seconds"]
        lines.append(f"{setting}, {side}: compiling takes {cost:.1f} s and {pays}; ratio {ratio:.2f}")
    return lines


if __name__ == "__main__":
    Contest(__file__, __doc__ or "", measure, ["eager", "compiled"], list(SETTINGS), fastest=True).run(report)
