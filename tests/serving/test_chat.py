"""Chat completions, in this process: what the engine gives for the template's prompt, as OpenAI's client reads it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gptcore.corpus.chat_template import TEMPLATE
from gptcore.generation.complete import Completion, Wish, engine_for
from gptcore.generation.sampling import Sampling
from serving.model import Served
from tests.support.serving import CONTEXT, served, serving

if TYPE_CHECKING:  # its import takes a second in each test process, which collects all tests and runs some
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletionMessageParam

pytestmark = pytest.mark.usefixtures("one_thread")

TALK: "list[ChatCompletionMessageParam]" = [
    {"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"},
    {"role": "user", "content": [{"type": "text", "text": "who "}, {"type": "text", "text": "are you?"}]},
]  # fmt: skip
PROMPT = [256, *b"S\n\nHi", 256, *b"Ho", 256, *b"who are you?", 256]


def chatty() -> Served:
    model = served(1)
    return replace(model, tokenizer=replace(model.tokenizer, chat_template=TEMPLATE))


def alone(n: int = 1, most: int = 12, seed: int = 3, logprobs: int | None = None, **values: Any) -> list[Completion]:
    model = chatty()
    engine, wish = engine_for(model.gpt, model.tokenizer, 4), Wish(most, Sampling(seed=seed, **values), n, (), logprobs)
    found = [Completion(engine, model.tokenizer, "", wish, number, number, PROMPT) for number in range(n)]
    while not all(each.finish for each in found):
        engine.step()
        for each in found:
            each.read()
    return found


@asynccontextmanager
async def asking(model: Served) -> AsyncIterator[tuple["AsyncOpenAI", httpx.AsyncClient]]:
    from openai import AsyncOpenAI

    async with serving() as (service, client):
        service.swap(model)
        openai = AsyncOpenAI(base_url="http://server/v1", api_key="none", http_client=client, max_retries=0)
        yield openai, client


def test_openais_client_gets_the_engines_bytes_whole_and_in_chunks() -> None:
    expected = alone(2, temperature=1.0)
    likeliest = alone(temperature=0.0, logprobs=2)[0]

    async def asked() -> None:
        async with asking(chatty()) as (openai, _):
            given: dict[str, Any] = {"model": "gpt", "messages": TALK, "max_tokens": 12, "n": 2, "seed": 3}
            whole, stream = await asyncio.gather(
                openai.chat.completions.create(**given),
                openai.chat.completions.create(**given, stream=True, stream_options={"include_usage": True}),
            )
            assert [each.message.content for each in whole.choices] == [each.text for each in expected]
            assert [each.message.role for each in whole.choices] == ["assistant"] * 2
            assert [each.finish_reason for each in whole.choices] == [each.finish for each in expected]
            assert whole.object == "chat.completion" and whole.usage
            assert whole.usage.prompt_tokens == len(PROMPT)
            texts, ends, roles = ["", ""], ["", ""], ["", ""]
            usage = None
            async for chunk in stream:
                assert chunk.object == "chat.completion.chunk" and chunk.system_fingerprint == whole.system_fingerprint
                usage = chunk.usage or usage
                for choice in chunk.choices:
                    texts[choice.index] += choice.delta.content or ""
                    roles[choice.index] += choice.delta.role or ""
                    ends[choice.index] += choice.finish_reason or ""
            assert (texts, roles) == ([each.text for each in expected], ["assistant"] * 2)
            assert (ends, usage) == ([each.finish for each in expected], whole.usage)
            greedy = await openai.chat.completions.create(
                model="gpt", messages=TALK, max_completion_tokens=12, temperature=0, logprobs=True, top_logprobs=2
            )
            told = greedy.choices[0].logprobs
            assert told and told.content
            exact = [each.logprob for each in likeliest.sequence.logprobs]
            assert [each.logprob for each in told.content] == pytest.approx(exact)
            assert b"".join(bytes(each.bytes or []) for each in told.content[:12]) == bytes(likeliest.sequence.ids)
            text = await openai.completions.create(model="gpt", prompt=PROMPT, max_tokens=12, seed=3, n=2)
            assert [each.text for each in text.choices] == [each.text for each in expected], "one prompt, two routes"
            to_the_end = await openai.chat.completions.create(model="gpt", messages=TALK, seed=3)
            assert to_the_end.usage and to_the_end.usage.total_tokens <= CONTEXT + 1

    asyncio.run(asked())


def test_an_answer_ends_where_the_turn_ends() -> None:
    model = chatty()
    model.gpt.lm_head.weight.data[256] = 0  # tied: all tokens begin alike, and the end is no likelier than others
    bias = {"256": 1000}

    async def asked() -> None:
        async with asking(model) as (openai, _):
            said = await openai.chat.completions.create(model="gpt", messages=TALK, logit_bias=bias, max_tokens=9)
            assert (said.choices[0].message.content, said.choices[0].finish_reason) == ("", "stop")

    asyncio.run(asked())


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"messages": []}, "invalid_value", "the last message must be the user's"),
    ({"messages": TALK[:3]}, "invalid_value", "the last message must be the user's"),
    ({"messages": [TALK[1], TALK[1]]}, "invalid_value", "must take turns"),
    ({"messages": [{"role": "robot", "content": "a"}]}, "invalid_value", "messages.0.role"),
    ({"messages": [{"role": "user", "content": "a", "mood": 1}]}, "unknown_field", "messages.0.mood"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "invalid_value", "messages"),
    ({"messages": [{"role": "user", "content": "a" * CONTEXT}]}, "context_length_exceeded", "98 tokens"),
    ({"messages": TALK, "top_logprobs": 2}, "invalid_value", "top_logprobs needs logprobs"),
    ({"messages": TALK, "tools": []}, "unknown_field", "there is no field tools"),
    ({"messages": TALK, "stream_options": {}}, "invalid_value", "only with stream"),
]


def test_what_is_no_conversation_is_refused_by_name() -> None:
    from openai import BadRequestError

    async def asked() -> None:
        async with asking(chatty()) as (_, client):
            for body, code, said in WRONG:
                answer = await client.post("/v1/chat/completions", json=body)
                error = answer.json()["error"]
                assert (answer.status_code, error["code"]) == (400, code), (body, error)
                assert said in error["message"], error

        async with asking(served(1)) as (openai, _):
            with pytest.raises(BadRequestError, match="gpt version 1 has no chat template; use /v1/completions"):
                await openai.chat.completions.create(model="gpt", messages=TALK)

    asyncio.run(asked())
