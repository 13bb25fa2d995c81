"""Before any route: keys and counts."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.keys import Guard
from serving.metrics import Metrics
from serving.refusals import Refusal

OPEN = ("/health", "/ready", "/metrics", "/docs", "/openapi.json", "/redoc", "/docs/oauth2-redirect")


class Door:
    def __init__(self, app: ASGIApp, guard: Guard, metrics: Metrics) -> None:
        self.app, self.guard, self.metrics = app, guard, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "other")
                self.metrics.requests.labels(route, str(message["status"])).inc()
            await send(message)

        try:
            if scope["path"] not in OPEN:
                given = dict(scope["headers"]).get(b"authorization", b"")
                self.guard.admit(given.decode("latin-1"))
        except Refusal as error:
            return await error.response()(scope, receive, counted)
        return await self.app(scope, receive, counted)
