"""A body that is too large, or too slow, is refused before it is read."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.refusals import Refusal

BODY_SECONDS = 30.0


class BodyLimit:
    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            return await self.app(scope, receive, send)
        try:
            body = await self._read(scope, receive)
        except Refusal as error:
            return await error.response()(scope, receive, send)
        if body is None:  # the client is gone
            return None
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        return await self.app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        refusal = Refusal(413, f"the body is larger than {self.most:,} bytes", "body_too_large")
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.most:
            raise refusal
        parts: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    parts.append(message.get("body", b""))
                    size, more = size + len(parts[-1]), message.get("more_body", False)
                    if size > self.most:
                        raise refusal
        except TimeoutError:
            raise Refusal(408, f"the body was not there after {BODY_SECONDS:g} s", "body_too_slow") from None
        return b"".join(parts)
