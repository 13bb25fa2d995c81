"""Ask a server of ours for minutes, as good clients and bad ones do: its memory, threads and files before and after.

Clients read a stream to its end, take a text whole, vanish in the midst of either, send what is wrong or too large, and
ask to look for a new champion. The server is measured when nobody asks: after a tenth of the time, when its allocators
have what they need, and at the end. Exits with 1 if it has more threads or files then, or grew by more than 16 MiB. The
last line is one JSON object.
"""

import argparse
import asyncio
import json
import time
from collections import Counter
from typing import Any

import httpx
import psutil
from serve import server

STREAMS = 8
GROWTH = 16 << 20  # bytes
SIZE = "4x128-1"
WRONG: list[tuple[bytes, int]] = [
    (b'{"prompt": "a"', 400), (b'{"prompt": "a", "temprature": 1}', 400), (b'{"prompt": 5}', 400),
    (b'{"prompt": "a", "n": "2"}', 400), (b" " * (2 << 20), 413),
]  # fmt: skip


async def whole(client: httpx.AsyncClient, number: int) -> str:
    answer = await client.post("/v1/completions", json=_body(number, 40))
    return str(answer.status_code)


async def streamed(client: httpx.AsyncClient, number: int) -> str:
    async with client.stream("POST", "/v1/completions", json=_body(number, 40) | {"stream": True}) as answer:
        async for _ in answer.aiter_lines():
            pass
    return str(answer.status_code)


async def vanishes_from_a_stream(client: httpx.AsyncClient, number: int) -> str:
    async with client.stream("POST", "/v1/completions", json=_body(number, 400) | {"stream": True}) as answer:
        async for _ in answer.aiter_lines():
            break
    return "vanished"


async def vanishes(client: httpx.AsyncClient, number: int) -> str:
    try:
        await client.post("/v1/completions", json=_body(number, 400), timeout=0.05)
    except httpx.TimeoutException:
        return "vanished"
    return "200"


async def wrong(client: httpx.AsyncClient, number: int) -> str:
    body, status = WRONG[number % len(WRONG)]
    answer = await client.post("/v1/completions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    return str(answer.status_code)


async def hastens(client: httpx.AsyncClient, number: int) -> str:
    return str((await client.post("/follow")).status_code)


CLIENTS = (whole, streamed, vanishes_from_a_stream, vanishes, wrong, hastens)


def _body(number: int, new: int) -> dict[str, Any]:
    return {"prompt": f"{number} to be", "max_tokens": new, "seed": number, "logprobs": 2 if number % 3 == 0 else None}


async def ask(address: str, seconds: float) -> Counter[str]:
    """What came of the requests of that time, made by several clients side by side."""
    give_up, found = time.monotonic() + seconds, Counter[str]()

    async def one(place: int, client: httpx.AsyncClient) -> None:
        number = place
        while time.monotonic() < give_up:
            made = CLIENTS[number % len(CLIENTS)]
            found[f"{made.__name__}: {await made(client, number)}"] += 1
            number += 1

    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        await asyncio.gather(*(one(place, client) for place in range(STREAMS)))
        while "\ngptcore_open_sequences 0.0\n" not in (await client.get("/metrics")).text:
            await asyncio.sleep(0.1)
    await asyncio.sleep(1)  # in which the server closes the connections
    return found


async def ask_at_once(address: str) -> None:
    """The server's pool starts its threads one by one, where no idle one is left: let it have them all."""
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        body = {"prompt": "to be" * 100_000}
        for each in await asyncio.gather(*(client.post("/tokenize", json=body) for _ in range(4 * STREAMS))):
            each.raise_for_status()


def measured(process: psutil.Process) -> dict[str, int]:
    return {"bytes": process.memory_info().rss, "threads": process.num_threads(), "files": process.num_fds()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=10, help="10 if not given")
    seconds = 60 * parser.parse_args().minutes
    with server(SIZE, STREAMS) as address:
        (process,) = psutil.Process().children()
        asyncio.run(ask_at_once(address))
        asyncio.run(ask(address, seconds / 10))
        before = measured(process)
        asked = asyncio.run(ask(address, seconds - seconds / 10))
        after = measured(process)
    has_grown = any(after[each] > before[each] for each in ("threads", "files")) or (
        after["bytes"] - before["bytes"] > GROWTH
    )
    print(json.dumps({"seconds": seconds, "before": before, "after": after, "asked": dict(sorted(asked.items()))}))
    raise SystemExit(int(has_grown))


if __name__ == "__main__":
    main()
