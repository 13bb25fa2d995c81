"""Models that are served, and the server in this process."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from queue import Queue

import httpx
import uvicorn

from gptcore.tokens.make_tokenizer import byte_tokenizer
from serving.app import make_app
from serving.follow import Follower
from serving.keys import Guard
from serving.model import Served
from serving.options import Options
from serving.service import Service
from serving.worker import Lane
from tests.support.engine import GPT2
from tests.support.patience import PATIENCE
from tests.support.weights import random_model

CONTEXT = 96
SMALL = Options(slots=4, queue=4)


def served(number: int = 0, block_size: int = CONTEXT) -> Served:
    model = random_model(GPT2, block_size=block_size)
    for each in model.parameters():
        each.data.mul_(4 + number)  # so that the likeliest ids differ from place to place, and with the number
    return Served("gpt", number, f"{number:064x}", model, byte_tokenizer())


@asynccontextmanager
async def serving(
    options: Options = SMALL, guard: Guard | None = None
) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    """The app without a network: its lifespan, and a client of it."""
    service = Service(options, served(1))
    app = make_app(service, guard or Guard())
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            yield service, client


class Gate:
    """Lets the engine of a lane take so many steps, and then wait."""

    def __init__(self, lane: Lane, steps: int = 0) -> None:
        self.permits, step = threading.Semaphore(steps), lane.engine.step

        def gated() -> None:
            self.permits.acquire()
            step()

        lane.engine.step = gated  # type: ignore[method-assign]

    def open(self, steps: int = 1_000) -> None:
        self.permits.release(steps)


@asynccontextmanager
async def listening(service: Service, follower: Follower | None = None) -> AsyncIterator[tuple[uvicorn.Server, str]]:
    """The app behind uvicorn on loopback: the server and its address."""
    app = make_app(service, Guard(), follower)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=20))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


async def until(holds: Callable[[], bool], seconds: float = PATIENCE) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)


@contextmanager
def in_a_thread(model: Served | None = None) -> Iterator[str]:
    """The address of a server in this process, of `served(1)` by default, for tests without a loop of their own."""
    loop, addresses, done = asyncio.new_event_loop(), Queue[str](), asyncio.Event()

    async def serve() -> None:
        async with listening(Service(SMALL, model or served(1))) as (_, address):
            addresses.put(address)
            await done.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="server")
    thread.start()
    try:
        yield addresses.get(timeout=PATIENCE)
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
        loop.close()
