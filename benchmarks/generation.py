"""Tokens per second of generation: nanoGPT's and transformers' generate, llama.cpp, a naive cache and ours.

At 1, 4 and 16 streams that start together: GPT-2's architecture with random weights, greedy, without an end of text,
from prompts of 32 tokens. On a CPU in float32; all sides may take the same threads, and ours and the naive cache take
one for the small model. On a GPU in float32 and in bfloat16, nanoGPT's by autocast, as its sample.py has it; ours keeps
norms, cache and logits in float32. llama.cpp gets our weights as GGUF, and its cache is in float32, too. The naive
cache is what one writes first over our weights. nanoGPT has none; without a checkout of it our model without a cache
stands in. The figures are tokens per second with the prompt's time, seconds to the first token, and the share of the
memory bandwidth (that of a large copy) that reading the weights once a step, in the side's precision, takes.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from contest import Contest, Measured, Medians
from torch.nn import functional as F

from gptcore.generation.engine import Engine
from gptcore.generation.sampling import Sampling
from gptcore.generation.sequence import Request
from gptcore.generation.threads import suited_to
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.tokens.tokenizer import BYTES, CHARACTER_PATTERN, Tokenizer

PROMPT = 32
COPIED = 1 << 28  # bytes
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ON_GPU = ("nanogpt", "transformers", "gptcore")


@dataclass(frozen=True)
class Setting:
    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    vocab_size: int
    streams: int
    new: int  # tokens of each stream; fewer where nanoGPT, which recomputes all of them for each, would take an hour
    dtype: torch.dtype = torch.float32


SMALL, GPT2 = (4, 4, 128, 512, 257), (12, 12, 768, 1024, 50257)
SETTINGS = {
    **{f"4x128-{streams}": Setting(*SMALL, streams, 256) for streams in (1, 4, 16)},
    "124m-1": Setting(*GPT2, 1, 512),
    "124m-4": Setting(*GPT2, 4, 64),
    "124m-16": Setting(*GPT2, 16, 32),
}
Generate = Callable[[torch.Tensor, int], int]  # ids (streams, PROMPT) and the new tokens of each: how many came


def measure(side: str, setting: str, nanogpt_folder: Path | None) -> Measured:
    name, precision = side.split()
    size = replace(SETTINGS[setting], dtype=getattr(torch, precision))
    if DEVICE.type == "cuda":
        size = replace(size, new=size.block_size // 4)
    torch.manual_seed(0)
    generate = SIDES[name](size, nanogpt_folder)
    ids = torch.randint(size.vocab_size, (size.streams, PROMPT), device=DEVICE)
    with torch.inference_mode():
        # a GPU's kernels are chosen and captured, a small model's step is traced
        timed(generate, ids, size.new if DEVICE.type == "cuda" or size.n_embd < 256 else 2)
        first, _ = timed(generate, ids, 1)
        seconds, made = timed(generate, ids, size.new)
    assert made == size.streams * size.new
    numbers = 12 * size.n_layer * size.n_embd**2 + size.vocab_size * size.n_embd  # of matrices and head
    read = numbers * size.dtype.itemsize
    return {
        "tokens_per_second": made / seconds,
        "first_token_seconds": first,
        "bandwidth_share": read * size.new / seconds / bandwidth(),
    }


def timed(generate: Generate, ids: torch.Tensor, new: int) -> tuple[float, int]:
    started = time.perf_counter()
    made = generate(ids, new)
    finish()
    return time.perf_counter() - started, made


def finish() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def bandwidth() -> float:
    """Bytes per second that a copy reads and writes."""
    source, target = (torch.ones(COPIED, dtype=torch.uint8, device=DEVICE) for _ in range(2))
    finish()
    seconds = []
    for _ in range(4):
        started = time.perf_counter()
        target.copy_(source)
        finish()
        seconds.append(time.perf_counter() - started)
    return 2 * COPIED / min(seconds)


def gptcore_side(size: Setting, _: Path | None) -> Generate:
    model = our_model(size)
    engine = Engine(model, size.streams, dtype=size.dtype)

    def generate(ids: torch.Tensor, new: int) -> int:
        asked = [engine.submit(Request(tuple(row), new, Sampling(temperature=0))) for row in ids.tolist()]
        with suited_to(model):
            while engine.busy:
                engine.step()
        return sum(len(each.ids) for each in asked)

    return generate


def our_model(size: Setting) -> GPT:
    config = ModelConfig(
        n_layer=size.n_layer, n_head=size.n_head, n_embd=size.n_embd, block_size=size.block_size, dropout=0.0,
        bias=True, norm="layernorm", position="learned", rope_base=10000.0, activation="gelu_tanh", qk_norm=False,
        attention_scale=0.0, tied_head=True, zero_init=False, embedding_norm=False, residual_scalars=False,
        value_embeddings=False, bigram_buckets=0, logit_softcap=0.0, sliding_window=0, activation_checkpointing=False,
    )  # fmt: skip
    return GPT(config, size.vocab_size).eval().to(DEVICE)


def transformers_side(size: Setting, _: Path | None) -> Generate:
    from transformers import GPT2Config, GPT2LMHeadModel

    model: Any = GPT2LMHeadModel(
        GPT2Config(
            n_layer=size.n_layer, n_head=size.n_head, n_embd=size.n_embd, n_positions=size.block_size,
            vocab_size=size.vocab_size, bos_token_id=0, eos_token_id=None, pad_token_id=0,
        )
    )  # fmt: skip
    model.eval().to(DEVICE, size.dtype)

    def generate(ids: torch.Tensor, new: int) -> int:
        made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, do_sample=False)
        return int(made[:, ids.size(1) :].numel())

    return generate


def nanogpt_side(size: Setting, folder: Path | None) -> Generate:
    if folder is None:
        return without_cache(our_model(size))
    sys.path.insert(0, str(folder))
    from model import GPT as Theirs  # type: ignore[import-not-found]
    from model import GPTConfig

    config = GPTConfig(block_size=size.block_size, vocab_size=size.vocab_size, n_layer=size.n_layer,
                       n_head=size.n_head, n_embd=size.n_embd, dropout=0.0, bias=True)  # fmt: skip
    model = Theirs(config).eval().to(DEVICE)
    half = size.dtype == torch.bfloat16

    def generate(ids: torch.Tensor, new: int) -> int:
        with torch.autocast(DEVICE.type, size.dtype, enabled=half):
            return int(model.generate(ids, new, top_k=1)[:, ids.size(1) :].numel())

    return generate


def without_cache(model: GPT) -> Generate:
    def generate(ids: torch.Tensor, new: int) -> int:
        for _ in range(new):
            choice = model(ids[:, -model.config.block_size :])[:, -1].argmax(-1, keepdim=True)
            ids = torch.cat((ids, choice), dim=1)
        return new * len(ids)

    return generate


def naive_side(size: Setting, _: Path | None) -> Generate:
    """Keys and values in a list of tensors that grow with `torch.cat`, a call for each operation."""
    model = our_model(size)

    def generate(ids: torch.Tensor, new: int) -> int:
        cache: list[tuple[torch.Tensor, ...]] = [() for _ in model.h]
        choice, made = ids, 0
        with suited_to(model):
            for _ in range(new):
                choice = with_naive_cache(model, choice, cache).argmax(-1, keepdim=True)
                made += choice.numel()
        return made

    return generate


def with_naive_cache(model: GPT, ids: torch.Tensor, cache: list[tuple[torch.Tensor, ...]]) -> torch.Tensor:
    """The logits after the last of some new ids (streams, T). GPT-2's architecture alone."""
    (B, T), first = ids.shape, cache[0][0].size(2) if cache[0] else 0
    heads, blocks = (model.config.n_head, model.config.head_dim), cast(Any, model.h)
    x = model.wte(ids) + cast(Any, model.wpe)(torch.arange(first, first + T))
    for layer, block in enumerate(blocks):
        parts = block.attn.c_attn(block.ln_1(x)).chunk(3, -1)
        q, k, v = (each.view(B, T, *heads).transpose(1, 2) for each in parts)
        if cache[layer]:
            k, v = (torch.cat(pair, 2) for pair in zip(cache[layer], (k, v), strict=True))
        cache[layer] = k, v
        y = F.scaled_dot_product_attention(q, k, v, is_causal=T > 1)
        x = x + block.attn.c_proj(y.transpose(1, 2).reshape(B, T, -1))
        x = x + block.mlp(block.ln_2(x))
    logits: torch.Tensor = model.lm_head(model.ln_f(x[:, -1]))
    return logits


def llama_side(size: Setting, _: Path | None) -> Generate:
    """The same weights in llama.cpp's own form, in its own server, which makes one text for each prompt of a list."""
    from gptcore.weights.exports.gguf import FILE, write_gguf
    from gptcore.weights.exports.llama_cpp import LlamaCpp

    with TemporaryDirectory(prefix="gptcore-benchmark-") as folder:
        write_gguf(Path(folder) / FILE, our_model(size), any_tokenizer(size.vocab_size), "f32")
        opened = LlamaCpp(Path(folder) / FILE, size.block_size, size.streams)

    def generate(ids: torch.Tensor, new: int) -> int:
        told = opened.ask(
            "/completion", prompt=ids.tolist(), n_predict=new, temperature=0, ignore_eos=True, cache_prompt=False
        )
        return sum(each["tokens_predicted"] for each in (told if isinstance(told, list) else [told]))

    return generate


def any_tokenizer(n_vocab: int) -> Tokenizer:
    """Of that many tokens: the bytes, and pairs of them."""
    pairs = (bytes(pair) for pair in product(range(256), repeat=2))
    return Tokenizer("char", CHARACTER_PATTERN, (*BYTES, *islice(pairs, n_vocab - 1 - len(BYTES))))


SIDES: dict[str, Callable[[Setting, Path | None], Generate]] = {
    "nanogpt": nanogpt_side, "transformers": transformers_side, "naive": naive_side, "llama.cpp": llama_side,
    "gptcore": gptcore_side,
}  # fmt: skip


def report(medians: Medians) -> list[str]:
    lines = []
    for setting, measured in medians.items():
        for precision in dict.fromkeys(side.split()[1] for side in measured):
            rates = {
                side.split()[0]: figures["tokens_per_second"]
                for side, figures in measured.items()
                if side.endswith(precision)
            }
            ours = rates.pop("gptcore")
            others = ", ".join(f"{name} {rate:,.4g} (ratio {ours / rate:.2f})" for name, rate in rates.items())
            lines.append(f"{setting:10} {precision} tokens/s: gptcore {ours:,.4g}, {others}")
    return lines


if __name__ == "__main__":
    contest = Contest(__file__, __doc__ or "", measure, list(SIDES), list(SETTINGS))
    contest.environment.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # of every side; `gptcore sample` and the server set it
    contest.sides = [f"{name} float32" for name in contest.arguments.sides]  # the rivals know no other format on a CPU
    if DEVICE.type == "cuda":
        rivals = [name for name in contest.arguments.sides if name in ON_GPU]
        contest.sides = [f"{name} {precision}" for precision in ("float32", "bfloat16") for name in rivals]
    contest.run(report)
