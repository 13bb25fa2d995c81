"""Texts for the playground, from the real server."""

import asyncio

import httpx
import pytest

from lab.read.served import Text, ready
from serving.service import Service
from tests.support.cluster import free_port
from tests.support.serving import SMALL, listening, served, until

BODY = {"prompt": "the", "max_tokens": 12, "temperature": 0.9, "seed": 5, "top_k": 40}


@pytest.mark.usefixtures("one_thread")
def test_a_text_is_made_with_nobody_looking_and_is_the_servers() -> None:
    async def use() -> None:
        service = Service(SMALL, served(1))
        async with listening(service) as (_, address):
            here = await asyncio.to_thread(ready, address)
            assert here and (here.version, here.sha256) == (1, service.served.sha256)
            text, again = Text(address, BODY), Text(address, BODY)
            refused = Text(address, {**BODY, "temperature": -1})
            await until(lambda: text.is_done and again.is_done and refused.is_done)
            async with httpx.AsyncClient() as client:
                whole = (await client.post(f"{address}/v1/completions", json=BODY)).json()
        assert text.text() == again.text() == whole["choices"][0]["text"]
        assert text.fingerprint == whole["system_fingerprint"]
        assert any(each.logprob is not None and each.others for each in text.pieces)
        assert "temperature" in refused.error and not refused.pieces

    asyncio.run(use())


def test_nothing_serves() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    assert ready(address) is None
    text = Text(address, BODY)
    while not text.is_done:
        pass
    assert "does not answer" in text.error
