"""Texts for the playground, from the real server."""

import asyncio

import httpx
import pytest

from lab.read.served import Piece, Text, pieces, ready
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
            chat = Text(address, {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3})
            await until(lambda: all(each.is_done for each in (text, again, refused, chat)))
            async with httpx.AsyncClient() as client:
                whole = (await client.post(f"{address}/v1/completions", json=BODY)).json()
        assert text.text() == again.text() == whole["choices"][0]["text"]
        assert text.fingerprint == whole["system_fingerprint"]
        assert any(each.logprob is not None and each.others for each in text.pieces)
        assert "temperature" in refused.error and not refused.pieces
        assert "has no chat template" in chat.error

    asyncio.run(use())


def test_an_answer_in_a_conversation_has_probabilities_too() -> None:
    content = [{"token": "Hi", "logprob": -0.5, "top_logprobs": [{"token": "Ho", "logprob": -1.0}]}]
    assert list(pieces({"delta": {"content": "Hi"}, "logprobs": {"content": content}})) == [
        Piece("Hi", -0.5, {"Ho": -1.0})
    ]
    assert list(pieces({"delta": {"content": "é"}, "logprobs": {"content": content}})) == [Piece("é")]
    assert "".join(each.text for each in pieces({"delta": {"role": "assistant"}, "logprobs": None})) == ""


def test_nothing_serves() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    assert ready(address) is None
    text = Text(address, BODY)
    while not text.is_done:
        pass
    assert "does not answer" in text.error
