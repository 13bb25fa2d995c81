"""GPT-2 124M on one GPU, bfloat16 and compiled: tokens per second, MFU, and the loss after equal training time.

Compares nanoGPT with our `gpt2` and `modern` on the same tokens: the text files of Python's standard library, encoded
with a vocabulary of GPT-2's size trained on them.
"""

import statistics
import sys
import sysconfig
import time
from pathlib import Path

import numpy as np
import torch
from contest import Contest, Measured, Medians
from sides import ROOT, Setting, Side, Tokens, gptcore_side, nanogpt_side, timed, validation_loss

from gptcore.config.presets import compose
from gptcore.model.config import ModelConfig
from gptcore.model.counts import counts
from gptcore.tokens.make_tokenizer import train_bpe
from gptcore.training.hardware import peak_flops_per_second

# nanoGPT's batch of half a million tokens; its vocabulary padded to a multiple of 64
SETTING = Setting(
    n_layer=12, n_head=12, n_embd=768, block_size=1024, batch_size=480, vocab_size=50304, micro_batch=32
)  # fmt: skip
TOKENS = ROOT / "data" / "scratch" / "benchmarks" / "gpu-tokens.npy"
TEXT = ("*.py", "*.md", "*.rst", "*.txt", "*.html", "*.h", "*.hpp", "*.pyi")
WARM_UP_STEPS, TIMED_STEPS = 3, 5
RATE = 6e-4  # nanoGPT's config/train_gpt2.py
OURS = [f"model.{field}" for field in ("bigram_buckets=0", "value_embeddings=false", "tied_head=true")]  # gpt2-124m's
WINDOWS = 512


def measure(side: str, setting: str, nanogpt_folder: Path | None) -> Measured:
    """`setting` is `throughput`, or the number of steps of a full run."""
    tokens: Tokens = np.load(TOKENS, mmap_mode="r")
    train, val = tokens[: -len(tokens) // 50], tokens[-len(tokens) // 50 :]
    steps = 1000 if setting == "throughput" else int(setting)
    contestant = _side(side, nanogpt_folder, train, steps)
    if setting == "throughput":
        timed(contestant, WARM_UP_STEPS)
        seconds = statistics.median(timed(contestant, TIMED_STEPS))
        return {"step_seconds": seconds, "tokens_per_second": SETTING.batch_tokens / seconds}
    timed(contestant, WARM_UP_STEPS)  # exclude compile time from training time
    started = time.perf_counter()
    timed(contestant, steps - WARM_UP_STEPS)
    seconds = time.perf_counter() - started
    return {"val_loss": validation_loss(contestant, val, SETTING.block_size, WINDOWS, 16), "seconds": seconds}


def _side(side: str, nanogpt_folder: Path | None, tokens: Tokens, steps: int) -> Side:
    name, precision = side.split()
    if name == "nanogpt":
        return nanogpt_side(nanogpt_folder, SETTING, tokens, steps, precision, RATE, beta2=0.95)
    if name == "gpt2":
        rates = [f"optim.{part}_learning_rate={RATE}" for part in ("matrix", "embedding", "head", "scalar")]
        return gptcore_side("gpt2", SETTING, tokens, steps, precision, [*rates, "optim.adam_betas=[0.9,0.95]"])
    return gptcore_side("modern", SETTING, tokens, steps, precision, OURS)


def make_tokens(folder: Path) -> None:
    """Encode all text under `folder` with a byte-level BPE trained on part of it."""
    texts = [
        path.read_text(encoding="utf-8", errors="ignore")
        for kind in TEXT
        for path in folder.rglob(kind)
        if path.is_file()
    ]
    print(f"{len(texts):,} files, {sum(map(len, texts)) / 1e6:,.0f} million characters", flush=True)
    tokenizer = train_bpe(iter(texts[::20]), SETTING.vocab_size - 47)
    ids = np.concatenate([tokenizer.encode(text) for text in texts]).astype(np.uint16)
    TOKENS.parent.mkdir(parents=True, exist_ok=True)
    np.save(TOKENS, ids)
    print(f"{len(ids):,} tokens", flush=True)


def report(medians: Medians) -> list[str]:
    sides = medians["throughput"]
    flops = {name: _flops_per_token(name) for name in ("gpt2", "modern")} | {"nanogpt": _flops_per_token("gpt2")}
    peak = peak_flops_per_second(torch.cuda.get_device_name())
    lines = []
    for side, measured in sides.items():
        rate, name = measured["tokens_per_second"], side.split()[0]
        mfu = f"{rate * flops[name] / peak:.1%}" if peak else "unknown: the GPU is not in gptcore/training/hardware.py"
        lines.append(f"{side:18} {rate:>10,.0f} tokens/s  MFU {mfu}")
    if contest.arguments.loss:
        for side, measured in sides.items():
            run = contest.child(side, str(int(600 / measured["step_seconds"])))
            lines.append(f"{side:18} val_loss {run['val_loss']:.4f} after {run['seconds']:.0f} s of training")
    (_, base), *ours = sides.items()
    ratios = {side: each["tokens_per_second"] / base["tokens_per_second"] for side, each in ours}
    return [*lines, *(f"ratio {side}: {ratio:.2f}" for side, ratio in ratios.items())]


def _flops_per_token(architecture: str) -> int:
    overrides = ["model=nano", f"architecture={architecture}", *SETTING.overrides()]
    return counts(ModelConfig(**compose(overrides, ROOT / "params.yaml")["model"]), SETTING.vocab_size).flops_per_token


if __name__ == "__main__":
    contest = Contest(
        __file__, __doc__ or "", measure, ["nanogpt", "gpt2", "modern"], ["throughput"],
        {"--loss": "also train each for ten minutes and compare validation losses"}, fastest=True,
    )  # fmt: skip
    if not torch.cuda.is_available():
        sys.exit("there is no GPU here: nothing was measured")
    if not TOKENS.exists():
        make_tokens(Path(sysconfig.get_path("stdlib")))
    contest.run(report)
