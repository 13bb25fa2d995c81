"""Peak memory of training steps beyond what the imports use: nanoGPT's against ours, same model and batch.

By default nanoGPT takes the whole batch at once, and our runs choose a micro-batch. `equal` has ours on both sides.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from contest import Contest, Measured, Medians, comparisons
from sides import gptcore_side, nanogpt_side, timed
from throughput import SETTINGS as DEFAULT

STEPS = 3
EQUAL = {f"{name}-equal": replace(DEFAULT[name], micro_batch=16) for name in ("baby", "baby-no-dropout")}
SETTINGS = DEFAULT | EQUAL
MEBIBYTE = 1 << 20


def measure(side: str, setting: str, nanogpt_folder: Path | None) -> Measured:
    name, precision = side.split()
    size = SETTINGS[setting]
    tokens = np.random.default_rng(0).integers(0, size.vocab_size, 1_000_000).astype(np.uint16)
    (torch.randn(256, 256) @ torch.randn(256, 256)).sum()  # allocate the thread pool and its buffers
    before = resident_bytes("VmRSS")
    if name == "gptcore":
        contestant = gptcore_side("gpt2", size, tokens, 1000, precision)
    else:
        contestant = nanogpt_side(nanogpt_folder, size, tokens, 1000, precision)
    timed(contestant, STEPS)
    peak = resident_bytes("VmHWM")
    return {"peak_mib": (peak - before) / MEBIBYTE, "with_imports_mib": peak / MEBIBYTE}


def resident_bytes(field: str) -> int:
    """VmRSS is the current resident memory of the process, VmHWM its peak."""
    for line in Path(f"/proc/{os.getpid()}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"this system does not report {field}")


def report(medians: Medians) -> list[str]:
    return [
        f"{setting:21} MiB: {line}"
        for setting, measured in medians.items()
        for line in comparisons(measured, "peak_mib", min)
    ]


if __name__ == "__main__":
    Contest(__file__, __doc__ or "", measure, ["nanogpt", "gptcore"], list(SETTINGS)).run(report)
