"""Tokens per second and waiting times of `python -m serving` at 1, 8 and 32 streams, closed and open loop.

Closed: each stream asks again when it has its answer. Open: requests come at random moments, on average at a share of
the closed loop's rate, whether others are done or not. The model has random weights, the end of a text is never drawn,
so that every request has the same length. With `--llama`, llama.cpp's server is asked the same: one of the same weights
and with one thread, too, or the one at an address. The last line is one JSON object.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any

import torch
from generation import SETTINGS as SIZES
from generation import our_model
from load import require_free
from stream_client import DESCRIPTION, completion

from gptcore.model.folder import save_export
from gptcore.model.gpt import GPT
from gptcore.tokens.make_tokenizer import byte_tokenizer

STREAMS = (1, 8, 32)
START_SECONDS = 120.0
NEVER = {"logit_bias": {"256": -100_000.0}}  # the end of a text
NEVER_OF_LLAMA = {"ignore_eos": True}
Asking = Callable[[int, int, "Times"], Coroutine[Any, Any, None]]  # number, new tokens


@dataclass
class Times:
    """Seconds to the first piece of a text, and between two, of all requests."""

    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)
    tokens: int = 0


async def ask(address: str, never: dict[str, Any], number: int, new: int, times: Times) -> None:
    prompt = "".join(random.Random(number).choices("abcdefgh ", k=32))
    body = {"prompt": prompt, "max_tokens": new, "stream": True, "stream_options": {"include_usage": True},
            "temperature": 0.8, "seed": number, **never}  # fmt: skip
    answer = await completion(address, body)
    times.first.append(answer.first)
    times.tokens += answer.tokens
    if answer.tokens > 1:
        times.between.append((answer.last - answer.first) / (answer.tokens - 1))


async def closed(asking: Asking, streams: int, requests: int, new: int) -> dict[str, float]:
    times, began = Times(), time.perf_counter()
    numbers = iter(range(max(requests, streams)))

    async def stream() -> None:
        for number in numbers:
            await asking(number, new, times)

    await asyncio.gather(*(stream() for _ in range(streams)))
    return figures(times, time.perf_counter() - began)


async def opened(asking: Asking, rate: float, requests: int, new: int) -> dict[str, float]:
    times, began, draw = Times(), time.perf_counter(), random.Random(0)
    async with asyncio.TaskGroup() as group:
        for number in range(requests):
            group.create_task(asking(number, new, times))
            await asyncio.sleep(draw.expovariate(rate))
    return figures(times, time.perf_counter() - began)


def figures(times: Times, seconds: float) -> dict[str, float]:
    found = {"tokens_per_second": times.tokens / seconds, "requests_per_second": len(times.first) / seconds}
    for name, values in (("ttft", times.first), ("per_token", times.between)):
        cuts = quantiles(values, n=100, method="inclusive") if len(values) > 1 else values * 99
        found |= {f"{name}_p50": cuts[49], f"{name}_p99": cuts[98]}
    return {name: round(value, 5) for name, value in found.items()}


@contextmanager
def server(size: str, slots: int, threads: int = 0) -> Iterator[str]:
    """The address of a server of a model with random weights."""
    with TemporaryDirectory(prefix="gptcore-benchmark-") as folder:
        export = Path(folder) / "model"
        save_export(export, _model(size), byte_tokenizer())
        numbers = {"--port": 0, "--slots": slots, "--threads": threads}
        words = [str(word) for pair in numbers.items() for word in pair]
        command = [sys.executable, "-m", "serving", "--model", str(export), *words]
        with (Path(folder) / "log").open("w+") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parents[1])
            try:
                yield _address(process, Path(log.name))
            finally:
                process.terminate()
                process.wait()


@contextmanager
def llama(size: str, streams: int, address: str) -> Iterator[str]:
    """llama.cpp's server of the same weights, if there is no address of another."""
    if address:
        yield address
        return
    from gptcore.weights.exports.gguf import FILE, write_gguf
    from gptcore.weights.exports.llama_cpp import LlamaCpp

    torch.set_num_threads(1)  # as `python -m serving` has
    with TemporaryDirectory(prefix="gptcore-benchmark-") as folder:
        write_gguf(Path(folder) / FILE, _model(size), byte_tokenizer(), "f32")
        opened = LlamaCpp(Path(folder) / FILE, SIZES[size].block_size, streams)
        yield opened.server.listening_address
        opened.close()


def _model(size: str) -> GPT:
    return our_model(replace(SIZES[size], vocab_size=byte_tokenizer().n_vocab))


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    give_up = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        _, found, rest = log.read_text().partition(" serves at ")
        if found and "\n" in rest:
            return rest.split()[0]
        time.sleep(0.1)
    raise SystemExit(f"the server did not start:\n{log.read_text()}")


async def measure(address: str, given: argparse.Namespace, never: dict[str, Any]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    asking = partial(ask, address, never)
    await asking(0, 4, Times())
    for streams in given.streams:
        found[f"closed-{streams}"] = await closed(asking, streams, given.requests, given.new)
        print(f"closed, {streams} streams: {found[f'closed-{streams}']}", flush=True)
    rate = given.load * max(each["requests_per_second"] for each in found.values())
    found["open"] = await opened(asking, rate, given.requests, given.new)
    print(f"open, {rate:.2f} requests/s: {found['open']}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--size", choices=["4x128", "124m"], default="4x128")
    parser.add_argument("--streams", type=int, nargs="+", default=STREAMS)
    parser.add_argument("--requests", type=int, default=64, help="of each measurement (default 64)")
    parser.add_argument("--new", type=int, default=128, help="tokens of each (default 128)")
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--threads", type=int, default=0, help="that compute; as the server chooses if not given")
    parser.add_argument("--load", type=float, default=0.7, help="the open loop's share of the closed one's rate")
    parser.add_argument(
        "--llama", metavar="URL", nargs="?", const="", help="ask llama.cpp's server, too, or that at URL"
    )
    parser.add_argument("--under-load", action="store_true", help="measure on a busy machine all the same")
    given = parser.parse_args()
    require_free(given.under_load)
    result: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count(),
                              "client": DESCRIPTION, "size": given.size}  # fmt: skip
    with server(f"{given.size}-1", given.slots, given.threads) as address:
        result["gptcore"] = asyncio.run(measure(address, given, NEVER))
    if given.llama is not None:
        with llama(f"{given.size}-1", given.slots, given.llama) as address:
            result["llama.cpp"] = asyncio.run(measure(address, given, NEVER_OF_LLAMA))
    ours = result["gptcore"]
    least, most = (
        ours[f"closed-{streams}"]["tokens_per_second"] for streams in (min(given.streams), max(given.streams))
    )
    result["ratio"] = round(most / least, 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
