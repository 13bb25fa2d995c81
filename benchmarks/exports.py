"""Every export of a model: whether its reader computes the same, its size, and greedy tokens per second of one stream.

Sizes are those of the whole folder, differences of logits are the greatest (of llama.cpp, of log-probabilities), those
of bits per byte have their interval. Speed is that of all tokens but the first: the time of a short text, with all that
loading takes, is taken off that of a long one.
"""

import argparse
import runpy
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from load import require_free

from gptcore.errors import UserError
from gptcore.generation.engine import Engine
from gptcore.generation.sampling import Sampling
from gptcore.generation.sequence import Request
from gptcore.model.folder import load_export
from gptcore.model.gpt import GPT
from gptcore.model.int8 import to_int8
from gptcore.weights.exports.export import NotTheSame, export
from gptcore.weights.exports.llama_cpp import LlamaCpp
from gptcore.weights.open_model import open_model

ROOT = Path(__file__).parents[1]
TARGETS = [("huggingface", ""), ("nanogpt", ""), ("onnx", ""), ("pt2", ""), ("gguf", "f32"), ("gguf", "f16"),
           ("gguf", "q8_0"), ("int8", "")]  # fmt: skip
SLOTS = 4  # as `gptcore sample` has for one text
SHORT = 2
Generate = Callable[[list[int], int], Any]  # ids and the number of new ones


def engine(model: GPT) -> Generate:
    def generate(ids: list[int], new: int) -> None:
        made = Engine(model, SLOTS)
        made.submit(Request(tuple(ids), new, Sampling(temperature=0)))
        while made.busy:
            made.step()

    return generate


def onnx(folder: Path) -> Generate:
    generate = runpy.run_path(str(ROOT / "docs/onnx_generate.py"))["generate"]
    return lambda ids, new: generate(folder / "model.onnx", ids, new)


def transformers(folder: Path) -> Generate:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval()
    return lambda ids, new: model.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=new, do_sample=False,
        eos_token_id=None, pad_token_id=0,
    )  # fmt: skip


def llama_cpp(folder: Path, context: int) -> Generate:
    opened = LlamaCpp(folder / "model.gguf", context)
    return lambda ids, new: opened.ask(
        "/completion", prompt=ids, n_predict=new, temperature=0, ignore_eos=True, cache_prompt=False
    )


def reader(to: str, folder: Path, context: int) -> Generate | None:
    """None of those that generate nothing by themselves."""
    match to:
        case "onnx":
            return onnx(folder)
        case "huggingface":
            return transformers(folder)
        case "gguf":
            return llama_cpp(folder, context)
        case "int8":
            return engine(to_int8(load_export(folder)[0]))
    return None


def speed(generate: Generate, prompt: list[int], new: int, repeats: int) -> float:
    """Tokens per second beyond the first, the median."""
    rates = []
    generate(prompt, SHORT)
    for _ in range(repeats):
        started = time.perf_counter()
        generate(prompt, SHORT)
        short, started = time.perf_counter() - started, time.perf_counter()
        generate(prompt, new)
        rates.append((new - SHORT) / max(time.perf_counter() - started - short, 1e-9))
    return median(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="gpt@champion")
    parser.add_argument("--text", type=Path, help="to compare on; else the validation text of data/")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--under-load", action="store_true", help="measure on a busy machine all the same")
    given = parser.parse_args()
    others = require_free(given.under_load)
    torch.set_num_threads(given.threads)
    model, tokenizer = open_model(given.model)
    context = model.config.block_size
    new, prompt = max(min(context - 10, 200), SHORT + 1), tokenizer.encode("a").tolist()
    print(f"{given.model}: {model.parameter_count():,} parameters, {given.threads} threads, others use {others:.0%}")
    print(f"{'':16} {'bytes':>13} {'logits':>9} {'bits per byte':>14} {'interval':>24} {'tokens/s':>9}  reader")
    plain = speed(engine(model), prompt, new, given.repeats)
    print(f"{'float32':16} {'':>13} {'':>9} {'':>14} {'':>24} {plain:9,.0f}  gptcore")
    with TemporaryDirectory() as temporary:
        for to, kind in TARGETS:
            folder, name = Path(temporary) / (to + kind), f"{to} {kind}".strip()
            try:
                found = export(given.model, to, folder, kind, given.text)
            except (UserError, NotTheSame) as error:
                print(f"{name:16} {error}")
                continue
            generate = reader(to, folder, context)
            rate = speed(generate, prompt, new, given.repeats) if generate else None
            bits, by = found["bits_per_byte"], found["consumer"]
            print(
                f"{name:16} {found['bytes']:13,} {max(found['differences'].values()):9.1e} {bits['difference']:+14.5f} "
                f"{bits['low']:+12.5f}{bits['high']:+12.5f} {'' if rate is None else f'{rate:,.0f}':>9}  "
                f"{by['name']} {by['version']}"
            )


if __name__ == "__main__":
    main()
