"""A client of completion servers that reads bytes and parses next to nothing, so that the server is measured.

It shares the machine with the server, and httpx and json take longer for an event than the server. Each request has a
connection of its own: llama.cpp's server promises to keep one (`keep-alive: max=100`) and closes it after each stream:
a client that asks there again at once gets no answer.
"""

import asyncio
import json
import re
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

DESCRIPTION = "asyncio's streams, a connection for each request"
MADE = re.compile(rb'"completion_tokens":\s*(\d+)')
TAIL = 1 << 12  # bytes, in which the event with the usage is


@dataclass(frozen=True)
class Answer:
    """Seconds from the request to the first event and to the end of the stream; the tokens that the server counts."""

    first: float
    last: float
    tokens: int


async def completion(address: str, body: dict[str, Any]) -> Answer:
    """`body` asks for a stream with its usage. Exits if there is no whole answer."""
    at, content = urlsplit(address), json.dumps(body).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: {at.netloc}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    began, first, last, tail = time.perf_counter(), 0.0, 0.0, b""
    try:
        reader, writer = await asyncio.open_connection(at.hostname, at.port)
        writer.write(head.encode() + content)
        status = await reader.readuntil(b"\r\n\r\n")
        while piece := await reader.read(1 << 16):
            last = time.perf_counter()
            first = first or last
            tail = tail[-TAIL:] + piece
        writer.close()
    except (OSError, asyncio.IncompleteReadError) as error:
        raise SystemExit(f"{address} has dropped a connection: {error}") from None
    made = MADE.findall(tail)
    if not status.startswith(b"HTTP/1.1 200 ") or not made:
        raise SystemExit(f"{address} gave no whole answer: {status[:40]!r} .. {tail[-400:]!r}")
    return Answer(first - began, last - began, int(made[-1]))
