"""GPT-2 124M on one GPU, bfloat16 and compiled: tokens per second, MFU, and the loss after equal training time.

Compares nanoGPT with our `gpt2` and `modern` on the same tokens: the text files of this Python's packages, encoded with
a vocabulary trained on part of them. The models have as many ids as GPT-2, of which this text does not use all.
"""

import random
import statistics
import sys
import time
from dataclasses import replace
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
TEXT = ("*.py", "*.md", "*.rst", "*.txt", "*.html", "*.h", "*.hpp", "*.cuh", "*.pyi")
TEXT_VOCABULARY = 32_000
BPE_EVERY = 4  # the vocabulary is trained on every fourth file
WARM_UP_STEPS, TIMED_STEPS = 3, 5
RATE = 6e-4  # nanoGPT's config/train_gpt2.py
OURS = [f"model.{field}" for field in ("bigram_buckets=0", "value_embeddings=false", "tied_head=true")]  # gpt2-124m's
WINDOWS = 512


def measure(side: str, setting: str, nanogpt_folder: Path | None) -> Measured:
    """`setting` is `throughput`, or the number of steps of a full run, with the rows of its batch."""
    tokens: Tokens = np.load(TOKENS, mmap_mode="r")
    train, val = tokens[: -len(tokens) // 50], tokens[-len(tokens) // 50 :]
    steps, rows = (1000, SETTING.batch_size) if setting == "throughput" else map(int, setting.split("x"))
    size = replace(SETTING, batch_size=rows)
    contestant = _side(side, nanogpt_folder, size, train, steps)
    timed(contestant, WARM_UP_STEPS)  # with compilation
    if setting == "throughput":
        seconds = statistics.median(timed(contestant, TIMED_STEPS))
        peak = torch.cuda.max_memory_allocated() / 1e9
        return {"step_seconds": seconds, "tokens_per_second": size.batch_tokens / seconds, "peak_gigabytes": peak}
    started = time.perf_counter()
    timed(contestant, steps - WARM_UP_STEPS)
    seconds = time.perf_counter() - started
    with torch.autocast("cuda", torch.bfloat16):
        rounded = validation_loss(contestant, val, size.block_size, WINDOWS, 16)
    return {
        "val_loss": validation_loss(contestant, val, size.block_size, WINDOWS, 16),
        "val_loss_in_bfloat16": rounded,
        "seconds": seconds,
        "epochs": steps * size.batch_tokens / len(train),
        "parameters": sum(each.numel() for each in contestant.model.parameters()),
    }


def _side(side: str, nanogpt_folder: Path | None, size: Setting, tokens: Tokens, steps: int) -> Side:
    name, precision = side.split()
    if name == "nanogpt":
        return nanogpt_side(nanogpt_folder, size, tokens, steps, precision, RATE, beta2=0.95)
    if name == "gpt2":
        rates = [f"optim.{part}_learning_rate={RATE}" for part in ("matrix", "embedding", "head", "scalar")]
        return gptcore_side("gpt2", size, tokens, steps, precision, [*rates, "optim.adam_betas=[0.9,0.95]"])
    return gptcore_side("modern", size, tokens, steps, precision, OURS)


def make_tokens(folder: Path, megabytes: int) -> None:
    """Encode the text files under `folder` with a byte-level BPE trained on part of them."""
    paths = (path for kind in TEXT for path in sorted(folder.rglob(kind)) if path.is_file())
    texts, characters = [], 0
    for path in paths:
        texts.append(path.read_text(encoding="utf-8", errors="ignore"))
        characters += len(texts[-1])
        if characters > megabytes * 1e6:
            break
    print(f"{len(texts):,} files, {characters / 1e6:,.0f} million characters", flush=True)
    random.Random(0).shuffle(texts)
    tokenizer = train_bpe(iter(texts[::BPE_EVERY]), TEXT_VOCABULARY)
    ids = np.concatenate([tokenizer.encode_documents([text.encode()]) for text in texts]).astype(np.uint16)
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
        lines.append(f"{side:18} {rate:>10,.0f} tokens/s  MFU {mfu}  {measured['peak_gigabytes']:.1f} GB")
    if budget := contest.arguments.loss_seconds:
        for side, measured in sides.items():
            rows = contest.arguments.loss_rows
            steps = int(budget / measured["step_seconds"] * SETTING.batch_size / rows)
            run = contest.child(side, f"{steps}x{rows}")
            lines.append(
                f"{side:18} {run['parameters'] / 1e6:.1f}M parameters  val_loss {run['val_loss']:.4f} (evaluated in "
                f"bfloat16 {run['val_loss_in_bfloat16']:.4f}) after {run['seconds']:.0f} s of training, {steps:,} "
                f"steps of {rows * SETTING.block_size:,} tokens, {run['epochs']:.2f} epochs"
            )
    (_, base), *ours = sides.items()
    ratios = {side: each["tokens_per_second"] / base["tokens_per_second"] for side, each in ours}
    return [*lines, *(f"ratio {side}: {ratio:.2f}" for side, ratio in ratios.items())]


def _flops_per_token(architecture: str) -> int:
    overrides = ["model=nano", f"architecture={architecture}", *SETTING.overrides()]
    return counts(ModelConfig(**compose(overrides, ROOT / "params.yaml")["model"]), SETTING.vocab_size).flops_per_token


if __name__ == "__main__":
    contest = Contest(
        __file__, __doc__ or "", measure, ["nanogpt", "gpt2", "modern"], ["throughput"],
        {"--loss-seconds": (0, "also train each for so long (600 is ten minutes) and compare validation losses"),
         "--loss-rows": (SETTING.batch_size, "rows of a batch in these runs"),
         "--megabytes": (1500, "of text to encode; the default does not repeat within ten minutes")}, fastest=True,
    )  # fmt: skip
    if not torch.cuda.is_available():
        sys.exit("there is no GPU here: nothing was measured")
    if not TOKENS.exists():
        make_tokens(Path(np.__file__).parents[2], contest.arguments.megabytes)
    contest.run(report)
