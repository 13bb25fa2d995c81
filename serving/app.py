"""The routes. None of them computes: they check, hand over to a worker, and write down what it tells."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.security import HTTPBearer
from starlette.responses import PlainTextResponse, Response

from gptcore.generation.complete import Wish
from gptcore.generation.sampling import check_prompt
from serving import batches, refusals, shapes
from serving.answers import Choice, joined, usage
from serving.body import BodyLimit
from serving.chat import CHAT, TEXT, ChatRequest, Form, prepared_chat
from serving.chunks import Chunks, event
from serving.door import Door
from serving.follow import Follower
from serving.keys import Guard
from serving.model import Served
from serving.refusals import Json, Refusal
from serving.requests import Asked, CompletionRequest, DetokenizeRequest, GenerateRequest, TokenizeRequest
from serving.service import Service, prepared, text_of
from serving.shapes import ERRORS
from serving.stream import EventStream, Vanished, while_connected
from serving.worker import Job, Prompt

SLACK_SECONDS = 30.0  # in which a client reads the end of a stream
CLOSED = 499  # nginx's word for a client that has gone; nobody reads it
STREAM = {"text/event-stream": {"schema": {"type": "string"}}}
COMPLETION = {"model": shapes.Completion, "content": STREAM}
CHAT_COMPLETION = {"model": shapes.ChatCompletion, "content": STREAM}


def make_app(service: Service, guard: Guard, follower: Follower | None = None) -> FastAPI:
    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        for worker in service.workers:
            worker.start()
        if follower:
            follower.start(service)
        yield
        if follower:
            follower.stop()
        for worker in service.workers:
            worker.stop()

    app = FastAPI(
        title="gptcore", version="1", lifespan=running, default_response_class=Json,
        dependencies=[Depends(HTTPBearer(auto_error=False))] if guard.hashes else [],  # the Door asks for it
    )  # fmt: skip
    app.state.service = service
    refusals.install(app)
    _completions(app, service)
    _tokens(app, service)
    _state(app, service, follower)
    batches.install(app)
    app.add_middleware(BodyLimit, most=service.options.body_bytes)
    app.add_middleware(Door, guard=guard, metrics=service.metrics)
    return app


def headers(served: Served) -> dict[str, str]:
    return {"X-Gptcore-Version": str(served.number), "X-Gptcore-SHA256": served.sha256}


def _completions(app: FastAPI, service: Service) -> None:
    @app.post("/v1/completions", responses={200: COMPLETION, **ERRORS})
    async def completions(body: CompletionRequest, request: Request) -> Response:
        """Continue prompts: OpenAI's completions."""
        wish, prompts = body.wish(), body.prompts()
        return await answered(body, request, wish, lambda served: prepared(served, prompts, wish), TEXT)

    @app.post("/v1/chat/completions", responses={200: CHAT_COMPLETION, **ERRORS})
    async def chat(body: ChatRequest, request: Request) -> Response:
        """The next message of a conversation, of a model that has a chat template: OpenAI's chat completions."""
        wish = body.wish()
        return await answered(body, request, wish, lambda served: prepared_chat(served, body.said(), wish), CHAT)

    async def answered(
        body: Asked, request: Request, wish: Wish, prepare: Callable[[Served], list[Prompt]], form: Form
    ) -> Response:
        if "stream_options" in body.model_fields_set and not body.stream:
            raise Refusal(400, "stream_options: only with stream", "invalid_value", "stream_options")
        job = await begun(body.model, wish, prepare, body.timeout)
        frame = {
            "id": f"{form.prefix}-{secrets.token_hex(12)}", "object": form.chunk if body.stream else form.whole,
            "created": int(time.time()), "model": job.lane.served.name,
            "system_fingerprint": job.lane.served.fingerprint,
        }  # fmt: skip
        choices = [Choice(number, job.prompts[number // body.n], job) for number in range(job.size)]
        if body.stream:
            events = _events(service, job, choices, Chunks(form, frame, body.stream_options.include_usage))
            seconds = service.options.deadline_seconds + SLACK_SECONDS
            return EventStream(events, headers(job.lane.served), lambda how: service.close(job, how), seconds)
        parts: dict[int, list[dict[str, Any]]] = {each.index: [] for each in choices}

        async def whole() -> None:
            async for updates in service.updates(job):
                for each in updates:
                    number = each.completion.number
                    parts[number].append(choices[number].add(each))

        if not await finished(job, request, whole()):
            return Response(status_code=CLOSED)
        shown = [
            form.of_whole(
                each.shown(each.text, joined([part["logprobs"] for part in parts[each.index]]) if each.tokens else None)
            )
            for each in choices
        ]
        return Json({**frame, "choices": shown, "usage": usage(job, choices)}, headers=headers(job.lane.served))

    @app.post("/generate", responses={200: {"model": shapes.Generated}, **ERRORS})
    async def generate(body: GenerateRequest, request: Request) -> Response:
        """A text in, the text with its continuation out."""
        wish = body.wish()
        job = await begun("", wish, lambda served: prepared(served, [body.text], wish))
        (choice,) = [Choice(0, job.prompts[0], job)]

        async def whole() -> None:
            async for updates in service.updates(job):
                for each in updates:
                    choice.add(each)

        if not await finished(job, request, whole()):
            return Response(status_code=CLOSED)
        served = job.lane.served
        values = {"text": body.text + choice.text, "new_tokens": choice.ids, "finish_reason": choice.finish}
        return Json({**values, "model": served.name, "system_fingerprint": served.fingerprint}, headers=headers(served))

    async def begun(
        model: str, wish: Wish, prepare: Callable[[Served], list[Prompt]], seconds: float | None = None
    ) -> Job:
        if model and model not in service.names():
            said = f"there is no model {model}; there are {', '.join(service.names())}"
            raise Refusal(404, said, "model_not_found", "model")
        lanes = service.lanes
        return service.begin(lanes, await asyncio.to_thread(prepare, lanes[0].served), wish, seconds)

    async def finished(job: Job, request: Request, work: Coroutine[Any, Any, None]) -> bool:
        """Whether the client is still there when it is done."""
        how = "vanished"
        try:
            await while_connected(request.receive, work)
            how = "done"
        except Vanished:
            return False
        finally:
            service.close(job, how)
        return True


async def _events(service: Service, job: Job, choices: list[Choice], chunks: Chunks) -> AsyncGenerator[bytes, None]:
    """What is new of all choices at once: each piece costs a write."""
    try:
        async for updates in service.updates(job):
            if events := "".join([chunks.of(choices[each.completion.number].add(each)) for each in updates]):
                yield events.encode()
    except Refusal as error:
        yield event(error.body()).encode()
    else:
        yield chunks.end(usage(job, choices)).encode()


def _tokens(app: FastAPI, service: Service) -> None:
    @app.post("/tokenize", responses={200: {"model": shapes.Tokens}, **ERRORS})
    async def tokenize(body: TokenizeRequest) -> Response:
        """The ids of a text."""
        served = service.served
        ids = await asyncio.to_thread(_ids, served, body.prompt)
        most = served.gpt.config.block_size
        return Json({"tokens": ids, "count": len(ids), "max_model_len": most}, headers=headers(served))

    @app.post("/detokenize", responses={200: {"model": shapes.Text}, **ERRORS})
    async def detokenize(body: DetokenizeRequest) -> Response:
        """The text of ids."""
        served = service.served
        text = await asyncio.to_thread(text_of, served, body.tokens)
        return Json({"prompt": text}, headers=headers(served))


def _ids(served: Served, text: str) -> list[int]:
    check_prompt(text, 1)
    ids: list[int] = served.tokenizer.encode(text).tolist()
    return ids


def _state(app: FastAPI, service: Service, follower: Follower | None) -> None:
    @app.get("/v1/models", responses={200: {"model": shapes.Models}, 401: ERRORS[401], 429: ERRORS[429]})
    async def models() -> Response:
        """What is served."""
        served = service.served
        values = {
            "object": "model", "created": service.created, "owned_by": "gptcore", "version": served.number,
            "sha256": served.sha256, "max_model_len": served.gpt.config.block_size,
        }  # fmt: skip
        data = [{"id": name, **values} for name in service.names()]
        return Json({"object": "list", "data": data}, headers=headers(served))

    @app.get("/health", responses={key: {"model": shapes.Health} for key in (200, 503)})
    async def health() -> Response:
        """Whether the server works at all; with 503, restart it."""
        is_well = service.computes
        return Json({"status": "ok" if is_well else "failed"}, 200 if is_well else 503)

    @app.get("/ready", responses={key: {"model": shapes.Ready} for key in (200, 503)})
    async def ready() -> Response:
        """Whether requests may come, what serves, and what was refused; with 503, send them elsewhere."""
        served, refused = service.served, service.refused
        is_ready = service.computes
        values = {
            "ready": is_ready, "model": served.name, "version": served.number, "sha256": served.sha256,
            "follows": follower.alias if follower else None,
            "refused": {"version": refused.number, "why": refused.why} if refused.number else None,
            "registry_error": service.registry_error or None,
        }  # fmt: skip
        return Json(values, 200 if is_ready else 503, headers(served))

    @app.post("/follow", responses={200: {"model": shapes.Follows}, **ERRORS})
    async def follow() -> Response:
        """Look now who has the alias, as after a promotion. For webhooks: a body may be anything, and is not read."""
        if follower:
            follower.hasten()
        return Json({"follows": follower.alias if follower else None})

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """For Prometheus."""
        return PlainTextResponse(service.metrics.text(), media_type="text/plain; version=0.0.4")
