"""Whether a program computes what the model does: logits of prompts, bits per byte of a text, ids of the same text."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gptcore.evaluation.intervals import Floats, Units, intervals, measures
from gptcore.model.gpt import GPT
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.weights.exports.target import Consumer, Limits
from gptcore.weights.exports.text import Text

BATCHES = (1, 3)
LENGTHS = (1, 2, 7, 64, 256)  # of prompts, where the context is as long


@dataclass(frozen=True)
class Parity:
    """`differences` are the greatest of each way to ask; `bits_per_byte` and its interval are of the export."""

    compared: str
    batches: tuple[int, ...]
    lengths: tuple[int, ...]
    differences: dict[str, float]
    bits_per_byte: dict[str, Any]
    checks: dict[str, bool]

    def faults(self, limits: Limits) -> list[str]:
        """Why the export is not the model, as ends of a sentence. NaN is within no limit."""
        found = [f"{name} fails" for name, holds in self.checks.items() if not holds]
        for way, greatest in self.differences.items():
            if not greatest <= (np.inf if limits.logits is None else limits.logits):
                found.append(f"its {self.compared} {way} differ by {greatest:.2g}, more than {limits.logits}")
        low, high = self.bits_per_byte["low"], self.bits_per_byte["high"]
        if not max(-low, high) <= limits.bits_per_byte:  # better by chance is another model too
            most = limits.bits_per_byte
            found.append(f"its bits per byte differ by {low:+.2g} to {high:+.2g}, and may differ by {most:g}")
        return found


@torch.inference_mode()
def compare(model: GPT, tokenizer: Tokenizer, consumer: Consumer, text: Text) -> Parity:
    windows = text.windows(model.config.block_size)
    checks = {name: check(windows[:2, :-1]) for name, check in consumer.checks.items()}
    if consumer.encode:
        sample = text.sample(tokenizer)
        checks["the same ids for the same text"] = list(consumer.encode(sample)) == tokenizer.encode(sample).tolist()
    longest = min(consumer.longest or model.config.block_size, windows.size(1) - 1)
    lengths = tuple(sorted({min(each, longest) for each in LENGTHS}))
    batches = tuple(min(each, len(windows)) for each in BATCHES)
    differences = dict.fromkeys(consumer.ways, 0.0)
    for length in lengths:
        for batch in batches:
            ids = windows[-batch:, :length]
            ours = model(ids).log_softmax(-1) if consumer.normalized else model(ids)
            for way, logits in consumer.ways.items():
                theirs = logits(ids)
                greatest = float((theirs - ours[:, -theirs.size(1) :]).abs().max())
                differences[way] = max(differences[way], greatest) if greatest == greatest else greatest
    return Parity(
        "log-probabilities" if consumer.normalized else "logits",
        batches, lengths, differences, _bits_per_byte(model, consumer, windows, text), checks,
    )  # fmt: skip


def _bits_per_byte(model: GPT, consumer: Consumer, windows: Tensor, text: Text) -> dict[str, Any]:
    """Of both on the same windows, and the paired interval of their difference; windows count as independent."""
    way = next(iter(consumer.ways.values()))
    rows: list[list[float]] = []
    left_out = 0
    for window in windows.split(1):
        ours = _losses(model(window[:, :-1]), window)
        theirs = consumer.losses(window) if consumer.losses else _losses(way(window[:, :-1]), window)
        # what it gives no loss of (NaN) is left out on both sides; a NaN that it computes is none of those
        given = ~theirs.isnan() if consumer.losses else torch.ones_like(theirs, dtype=torch.bool)
        tokens = int(given.sum())
        left_out += given.numel() - tokens
        rows.append([float(theirs[given].sum()), float(ours[given].sum()), tokens, tokens * text.bytes_per_token])
    sums: Floats = np.array(rows)
    units = Units(sums, sums.sum(0), len(sums), len(sums) - 1)
    (export, ours_bits), difference = measures(units.whole)[:, 2], intervals(units)[2].bits_per_byte
    return {
        "text": text.name, "windows": len(sums), "tokens": int(sums[:, 2].sum()), "tokens_left_out": left_out,
        "model": float(ours_bits), "export": float(export), "difference": float(export - ours_bits),
        "low": difference.low, "high": difference.high,
    }  # fmt: skip


def _losses(logits: Tensor, window: Tensor) -> Tensor:
    """(1, T) in nats."""
    return F.cross_entropy(logits[0].double(), window[0, 1:], reduction="none")[None]
