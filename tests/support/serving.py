"""Models that are served, and the server in this process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from gptcore.tokens.make_tokenizer import byte_tokenizer
from serving.app import make_app
from serving.keys import Guard
from serving.model import Served
from serving.options import Options
from serving.service import Service
from tests.support.engine import GPT2
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
