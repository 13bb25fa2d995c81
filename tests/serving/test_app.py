"""The routes, in this process: what they give, against the engine alone, and what they refuse."""

import asyncio
import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptcore.errors import UserError
from gptcore.generation.complete import Completion, Wish, complete, engine_for
from gptcore.generation.sampling import Sampling
from gptcore.model.folder import save_export
from gptcore.model.gpt import GPT
from gptcore.model.int8 import Int8Linear
from gptcore.tokens.make_tokenizer import byte_tokenizer
from serving.__main__ import arguments, listener, options, serve
from serving.keys import Guard, known_keys, new_key
from serving.model import open_served
from serving.options import Options
from tests.support.engine import GPT2
from tests.support.serving import CONTEXT, SMALL, served, serving
from tests.support.weights import random_model

GREEDY = Sampling(temperature=0)


pytestmark = pytest.mark.usefixtures("one_thread")


def alone(prompts: list[str], wish: Wish) -> list[Completion]:
    model = served(1)
    return complete(engine_for(model.gpt, model.tokenizer, 4), model.tokenizer, prompts, wish)


def chunks(answer: httpx.Response) -> list[Any]:
    """What a stream of events holds, written as `json` writes it without spaces; it ends with [DONE]."""
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    values = [json.loads(each.removeprefix("data: ")) for each in events[:-2]]
    assert events[:-2] == [f"data: {json.dumps(each, separators=(',', ':'))}" for each in values]
    return values


def test_a_completion_is_what_the_engine_gives_whole_in_chunks_and_among_others() -> None:
    filters: dict[str, Any] = {"top_p": 0.9, "top_k": 60, "min_p": 0.001}
    body: dict[str, Any] = {"prompt": ["To be", "or not"], "n": 2, "max_tokens": 20, "seed": 3, **filters}
    wish = Wish(20, Sampling(seed=3, temperature=1.0, **filters), 2)
    expected = [each.text for each in alone(body["prompt"], wish)]
    stream = {**body, "stream": True, "stream_options": {"include_usage": True}}

    async def asked() -> None:
        async with serving() as (_, client):
            whole, streamed = await asyncio.gather(
                client.post("/v1/completions", json=body), client.post("/v1/completions", json=stream)
            )
            values = whole.json()
            assert [each["text"] for each in values["choices"]] == expected
            assert [each["index"] for each in values["choices"]] == [0, 1, 2, 3]
            assert values["usage"] == {"prompt_tokens": 11, "completion_tokens": 80, "total_tokens": 91}
            assert values["system_fingerprint"].endswith(served(1).sha256)
            assert (whole.headers["x-gptcore-version"], whole.headers["x-gptcore-sha256"]) == ("1", served(1).sha256)
            assert streamed.headers["content-type"].startswith("text/event-stream")
            *pieces, last = chunks(streamed)
            assert (last["choices"], last["usage"]) == ([], values["usage"])
            texts, ends = [""] * 4, [None] * 4
            for each in pieces:
                (choice,) = each["choices"]
                assert (each["usage"], ends[choice["index"]]) == (None, None)
                texts[choice["index"]] += choice["text"]
                ends[choice["index"]] = choice["finish_reason"]
            assert (texts, ends) == (expected, ["length"] * 4)

    asyncio.run(asked())


def test_log_probabilities_are_the_models_and_of_the_text_alone() -> None:
    """With echo, the whole text's: what lm-eval reads. A stop string leaks neither as text nor as a token."""
    (full,) = alone(["To be"], Wish(12, GREEDY, logprobs=2, echo=True))
    stop = full.text[5:8]
    at = full.text.index(stop)
    ids = list(b"To be")
    body = {"prompt": ids, "max_tokens": 12, "temperature": 0, "logprobs": 2, "echo": True}

    async def asked() -> None:
        async with serving() as (_, client):
            (whole,) = (await client.post("/v1/completions", json=body)).json()["choices"]
            assert whole["text"] == "To be" + full.text
            exact = [*full.sequence.prompt_logprobs, *full.sequence.logprobs]
            assert whole["logprobs"]["token_logprobs"] == [None, *(each.logprob for each in exact)]
            assert whole["logprobs"]["top_logprobs"][0] is None
            for top, each in zip(whole["logprobs"]["top_logprobs"][1:], exact, strict=True):
                assert max(top.values()) == each.top[0][1]
                assert each.logprob in top.values()
            assert whole["logprobs"]["tokens"][:5] == ["T", "o", " ", "b", "e"]
            cut = {**body, "echo": False, "stop": [stop], "stream": True}
            pieces = [each["choices"][0] for each in chunks(await client.post("/v1/completions", json=cut))]
            assert "".join(each["text"] for each in pieces) == full.text[:at]
            assert pieces[-1]["finish_reason"] == "stop"
            offsets = [offset for each in pieces for offset in each["logprobs"]["text_offset"]]
            assert offsets == whole["logprobs"]["text_offset"][5 : 5 + len(offsets)] or offsets == [
                each - 5 for each in whole["logprobs"]["text_offset"][5 : 5 + len(offsets)]
            ]
            assert offsets[-1] < at
            last = {**body, "prompt": ids, "max_tokens": 1, "logit_bias": {"256": 1000}}
            (ended,) = (await client.post("/v1/completions", json=last)).json()["choices"]
            assert (ended["text"], ended["finish_reason"]) == ("To be", "stop")
            assert ended["logprobs"]["tokens"][-1] == "<|endoftext|>"  # lm-eval leaves the last one out
            stop_id = full.sequence.ids[6]
            by_id = {"prompt": ids, "max_tokens": 12, "temperature": 0, "stop_token_ids": [stop_id]}
            told = (await client.post("/v1/completions", json=by_id)).json()
            assert told["choices"][0]["finish_reason"] == "stop"
            assert told["usage"]["completion_tokens"] == full.sequence.ids.index(stop_id)

    asyncio.run(asked())


WRONG: list[tuple[str, Any, int, str, str]] = [
    ("/v1/completions", {"prompt": "a", "temprature": 1}, 400, "unknown_field", "did you mean temperature?"),
    ("/v1/completions", {"prompt": "a", "best_of": 2}, 400, "unknown_field", "there is no field best_of"),
    ("/v1/completions", {"prompt": "a", "max_tokens": "5"}, 400, "invalid_value", "max_tokens: input should be"),
    ("/v1/completions", {"prompt": "a", "n": True}, 400, "invalid_value", "n: "),
    ("/v1/completions", {"prompt": "a", "temperature": -1}, 400, "invalid_value", "temperature: "),
    ("/v1/completions", {"prompt": "a", "temperature": 1e-9}, 400, "invalid_value", "temperature is 0 or at least"),
    ("/v1/completions", {"prompt": {"a": 1}}, 400, "invalid_value", "prompt: a text, a list of texts"),
    ("/v1/completions", {"prompt": []}, 400, "invalid_value", "the list is empty"),
    ("/v1/completions", {"prompt": [[]]}, 400, "invalid_value", "the prompt holds no token"),
    ("/v1/completions", {"prompt": [257]}, 400, "invalid_value", "257 is no id"),
    ("/v1/completions", {"prompt": [-1]}, 400, "invalid_value", "-1 is no id"),
    ("/v1/completions", {"prompt": "a\ud800"}, 400, "invalid_value", "half of a surrogate pair"),
    ("/v1/completions", {"prompt": "a", "\ud800": 1}, 400, "invalid_value", "unicode string"),
    ("/v1/completions", {"prompt": "a", "stop": ""}, 400, "invalid_value", "stop"),
    ("/v1/completions", {"prompt": "a", "logit_bias": {"300": 1}}, 400, "invalid_value", "300 is no id"),
    ("/v1/completions", {"prompt": "a", "stop_token_ids": [300]}, 400, "invalid_value", "300 is no id"),
    ("/v1/completions", {"prompt": "a", "stop_token_ids": [-1]}, 400, "invalid_value", "stop_token_ids.0: "),
    ("/v1/completions", {"prompt": "a", "stream_options": {}}, 400, "invalid_value", "only with stream"),
    ("/v1/completions", {"prompt": "a" * (CONTEXT + 1)}, 400, "context_length_exceeded", "97 tokens"),
    ("/v1/completions", {"prompt": "a", "n": 9}, 400, "invalid_value", "this server takes 8"),
    ("/v1/completions", {"prompt": "a", "model": "gpt-9"}, 404, "model_not_found", "there is no model gpt-9"),
    ("/v1/completions", b'{"prompt": "a"', 400, "invalid_json", "the body is no JSON"),
    ("/v1/completions", b"[1]", 400, "invalid_value", "body"),
    ("/v1/completions", b"", 400, "invalid_value", "body"),
    ("/v1/completions", b"\xff\xff", 400, "invalid_json", "parsing the body"),
    ("/v1/completions", b"[" * 100_000, 400, "invalid_json", "parsing the body"),
    ("/v1/completions", b" " * 200_000, 413, "body_too_large", "100,000 bytes"),
    ("/v1/chat/completions", {"messages": []}, 400, "no_chat_template", "has no chat template"),
    ("/v1/chat/completions", {"messages": [], "n": 0}, 400, "invalid_value", "n: "),
    ("/generate", {"text": "a", "max_new_tokens": -1}, 400, "invalid_value", "max_new_tokens: "),
    ("/detokenize", {"tokens": [257]}, 400, "invalid_value", "257 is no id"),
    ("/tokenize", {"prompt": "a\ud800"}, 400, "invalid_value", "unicode string"),
    ("/nothing", {}, 404, "not_found", "Not Found"),
]


def test_a_wrong_request_is_refused_by_name_and_the_next_one_is_answered() -> None:
    async def asked() -> None:
        options = Options(slots=4, queue=4, body_bytes=100_000)
        async with serving(options) as (service, client):
            for path, body, status, code, said in WRONG:
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                answer = await client.post(path, content=content, headers={"Content-Type": "application/json"})
                assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), (body, answer.text)
                assert said in answer.json()["error"]["message"], answer.text
                assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
            assert (service.open, service.busy_slots) == (0, 0)
            full = await client.post("/v1/completions", json={"prompt": "a" * CONTEXT, "max_tokens": 9, "model": "gpt"})
            assert full.json()["choices"][0]["finish_reason"] == "length"
            assert full.json()["usage"]["completion_tokens"] == 1

    asyncio.run(asked())


def test_the_other_routes_and_a_log_without_text_unless_asked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    (expected,) = alone(["To be"], Wish(9, GREEDY))

    async def asked() -> None:
        async with serving() as (_, client):
            body = {"text": "To be", "max_new_tokens": 9, "temperature": 0, "seed": None}
            assert (await client.post("/generate", json=body)).json()["text"] == "To be" + expected.text
            tokens = (await client.post("/tokenize", json={"prompt": "é!"})).json()
            assert tokens == {"tokens": [0xC3, 0xA9, 0x21], "count": 3, "max_model_len": CONTEXT}
            assert (await client.post("/detokenize", json={"tokens": tokens["tokens"]})).json() == {"prompt": "é!"}
            models = (await client.get("/v1/models")).json()["data"]
            assert {"gpt", "gpt@champion", "gpt@1"} == {each["id"] for each in models}
            assert (await client.get("/health")).status_code == 200
            ready = (await client.get("/ready")).json()
            assert (ready["ready"], ready["version"], ready["refused"]) == (True, 1, None)
            assert (await client.get("/docs")).status_code == 200
            document = (await client.get("/openapi.json")).json()
            assert "/v1/completions" in document["paths"]
            metrics = (await client.get("/metrics")).text
            for line in (
                f'gptcore_served_version{{sha256="{served(1).sha256}",version="1"}} 1.0',
                "gptcore_prefill_tokens_total 5.0", "gptcore_decode_tokens_total 9.0", "gptcore_slots 4.0",
                "gptcore_slots_busy 0.0", "gptcore_queue_sequences 0.0",
                "gptcore_time_to_first_token_seconds_count 1.0", "gptcore_time_per_token_seconds_count 1.0",
                'gptcore_requests_total{route="/generate",status="200"} 1.0',
            ):  # fmt: skip
                assert f"\n{line}\n" in metrics, line
            (example,) = document["components"]["schemas"]["CompletionRequest"]["examples"]  # what the page sends
            assert (await client.post("/v1/completions", json=example)).status_code == 200

    asyncio.run(asked())
    assert "done: version 1, 1 texts, 5 prompt tokens" in caplog.text
    assert "To be" not in caplog.text

    async def logged() -> None:
        async with serving(replace(SMALL, log_prompts=True)) as (_, client):
            await client.post("/generate", json={"text": "To be\n", "max_new_tokens": 0})

    asyncio.run(logged())
    assert 'prompts: ["To be\\n"]' in caplog.messages


def test_a_full_queue_a_late_answer_and_a_failing_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is refused is told when to come again; nothing that failed holds a slot."""

    async def asked() -> None:
        async with serving(Options(slots=4, queue=2)) as (service, client):
            entered = asyncio.Event()
            loop, step = asyncio.get_running_loop(), service.lanes[0].engine.step

            def stuck() -> None:
                loop.call_soon_threadsafe(entered.set)
                asyncio.run_coroutine_threadsafe(asyncio.sleep(0.2), loop).result()
                step()

            service.lanes[0].engine.step = stuck  # type: ignore[method-assign]
            body = {"prompt": "a", "n": 6, "max_tokens": 2}
            late = asyncio.create_task(client.post("/v1/completions", json={**body, "timeout": 0.1}))
            await entered.wait()
            full = await client.post("/v1/completions", json={"prompt": "a"})
            assert (full.status_code, full.json()["error"]["code"]) == (429, "queue_full")
            assert int(full.headers["retry-after"]) >= 1
            assert ((await late).status_code, service.open) == (504, 0)

            def broken() -> None:
                raise RuntimeError("out of memory")

            service.lanes[0].engine.step = broken  # type: ignore[method-assign]
            failed = await client.post("/v1/completions", json=body)
            assert (failed.status_code, failed.json()["error"]["type"]) == (500, "server_error")
            well = await client.post("/v1/completions", json=body)
            assert (well.status_code, service.busy_slots, service.open) == (200, 0, 0)

            service.swap(replace(served(2), gpt=without_numbers()))
            failed = await client.post("/v1/completions", json=body)
            assert (failed.status_code, failed.json()["error"]["code"]) == (500, "internal_error")
            stream = await client.post("/v1/completions", json={**body, "stream": True})
            assert stream.text.startswith('data: {"error":{"message":"the model computes NaN or infinity",')
            assert stream.text.count("data: ") == 1
            assert '\ngptcore_requests_ended_total{how="error"} 3.0\n' in (await client.get("/metrics")).text

    asyncio.run(asked())


def without_numbers() -> GPT:
    """A model whose weights are numbers, and whose logits are none."""
    model = random_model(GPT2, block_size=CONTEXT)
    model.lm_head.weight.data.fill_(3e38)
    return model


def test_a_model_that_computes_no_numbers_is_not_served(tmp_path: Path) -> None:
    save_export(tmp_path / "model", without_numbers(), byte_tokenizer())
    with pytest.raises(UserError, match="model computes NaN or infinity"):
        open_served(str(tmp_path / "model"))


def test_keys_and_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    key, digest = new_key()
    monkeypatch.setenv("GPTCORE_API_KEYS", f"{'0' * 64}, {digest.upper()}")

    async def asked() -> None:
        async with serving(guard=Guard(known_keys(), per_minute=2)) as (_, client):
            for given in ("", key, f"Bearer {key}x", b"Bearer \xe9"):
                answer = await client.get("/v1/models", headers={"Authorization": given})
                assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
            answers = [await client.get("/v1/models", headers={"Authorization": f"Bearer {key}"}) for _ in range(3)]
            assert [each.status_code for each in answers] == [200, 200, 429]
            assert int(answers[2].headers["retry-after"]) in range(1, 31)
            assert (await client.post("/follow")).status_code == 401
            assert (await client.get("/ready")).status_code == 200

    asyncio.run(asked())
    monkeypatch.setenv("GPTCORE_API_KEYS", key)
    with pytest.raises(Exception, match="word 1 is no sha256") as error:
        known_keys()
    assert key not in str(error.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--slots", "3"], "--slots 3 is not at least 4"),
        (["--poll", "0"], "--poll 0.0 is not at least 0.1"),
        (["--model", "nothing"], "there is no model nothing"),
    ],
)
def test_a_server_that_cannot_start_says_why(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        serve(arguments(words))


def test_words_become_options() -> None:
    assert arguments([]).host == "127.0.0.1"
    assert options(arguments([])) == Options()
    assert options(arguments(["--slots", "5", "--rate", "9", "--log-prompts"])) == Options(
        slots=5, requests_per_minute=9, log_prompts=True
    )


def test_connections_send_each_event_at_once() -> None:
    with listener("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_that_another_program_has_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1:{port}: another program has it"):
            listener("127.0.0.1", port)
    with pytest.raises(UserError, match=r"cannot listen on 127\.0\.0\.1:99999"):
        listener("127.0.0.1", 99999)


def test_8_bits_are_served_under_a_fingerprint_of_their_own(tmp_path: Path) -> None:
    save_export(tmp_path / "model", random_model(GPT2), byte_tokenizer())
    plain, rounded = (open_served(str(tmp_path / "model"), int8) for int8 in (False, True))
    assert rounded.fingerprint == f"{plain.fingerprint}-int8"
    assert isinstance(rounded.gpt.lm_head, Int8Linear) and not isinstance(plain.gpt.lm_head, Int8Linear)
    with pytest.raises(UserError, match="leave out --precision bfloat16"):
        serve(arguments(["--int8", "--precision", "bfloat16"]))
