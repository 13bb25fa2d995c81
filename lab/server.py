"""The server of the pages: `python -m lab.server`, which `make lab` starts."""

import argparse
import importlib
import logging
import os
import signal
import threading
from contextlib import suppress
from http.cookies import SimpleCookie
from pathlib import Path
from secrets import compare_digest
from types import FrameType
from urllib.parse import parse_qsl, urlencode

import streamlit
import uvicorn
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gptcore.config.environment import check_environment
from gptcore.errors import UserError
from lab.scripts import Scripts

COOKIE, TOKEN = "gptcore-lab", "token"
OPEN = "/_stcore/health"  # for those who ask whether the server is up
DRAWN_WITH = (
    "hydra.core.override_parser.overrides_parser", "omegaconf", "flows.page.lineage",
    "gptcore.registry.tracking", "lab.read.experiments", "lab.read.gate", "lab.read.texts",
)  # fmt: skip
# what a page may fetch: Streamlit would take the icon of the browser's tab from Google
OURS = "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws: wss: data: blob:"


class Door:
    """Lets in who has the token: once in the address, from then on in a cookie."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] == OPEN or self._is_known(scope):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif self._is(dict(parse_qsl(scope["query_string"].decode("latin-1"))).get(TOKEN, "")):
            await self._admit(scope, receive, send)
        else:
            said = f"This lab wants its token: open the address with ?{TOKEN}=... that `make lab` has printed."
            await PlainTextResponse(said, 401)(scope, receive, send)

    def _is_known(self, scope: Scope) -> bool:
        cookie = SimpleCookie(Headers(scope=scope).get("cookie", "")).get(COOKIE)
        return cookie is not None and self._is(cookie.value)

    def _is(self, given: str) -> bool:
        return compare_digest(given.encode(), self.token.encode())

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """To the same address without the token, which would stay in the browser's history."""
        rest = [each for each in parse_qsl(scope["query_string"].decode("latin-1")) if each[0] != TOKEN]
        answer = RedirectResponse(f"{scope['path']}?{urlencode(rest)}" if rest else scope["path"], 303)
        answer.set_cookie(COOKIE, self.token, httponly=True, samesite="lax")
        await answer(scope, receive, send)


class Closed:
    """Tells the browser to fetch nothing from elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = OURS
            await send(message)

        await self.app(scope, receive, sending)


def make_app(token: str) -> streamlit.App:
    """Streamlit itself refuses pages of other sites; where it does not know its own address, the token does."""
    door = [Middleware(Door, token=token)] if token else []
    routes = [Route("/launch", _first_page)]  # Streamlit knows its first page without a name alone
    layers = [Middleware(Closed), *door, Middleware(Scripts)]
    app = streamlit.App(Path(__file__).with_name("app.py"), routes=routes, middleware=layers)
    if token:
        streamlit.config.set_option("server.enableCORS", False)
        streamlit.config.set_option("server.enableXsrfProtection", False)
    return app


async def _first_page(request: Request) -> RedirectResponse:
    return RedirectResponse(f"./?{request.url.query}".rstrip("?"))


def _import_all() -> None:
    """What pages import when they are drawn, so that the first one need not wait for it (2 s)."""
    for each in DRAWN_WITH:
        importlib.import_module(each)
    importlib.import_module("lab.read.form").sections()
    importlib.import_module("tasks.dvc.repository").import_dvc()


def _read_all() -> None:
    """What takes long the first time: MLflow opens its store in a second, DVC reads an experiment in 0.2 s."""
    from lab.read.experiments import all_experiments
    from lab.read.versions import versions

    for read in (versions, all_experiments):
        with suppress(UserError):
            read(Path.cwd())


def _end(number: int, frame: FrameType | None) -> None:
    """So that the servers of the playground are stopped."""
    raise SystemExit(0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8501)
    given = parser.parse_args()
    check_environment()
    app = make_app(os.environ.get("GPTCORE_LAB_TOKEN", ""))
    _import_all()
    threading.Thread(target=_read_all, name="read", daemon=True).start()
    for each in (signal.SIGINT, signal.SIGTERM):  # uvicorn ends by them, and then sends them again
        signal.signal(each, _end)
    logging.getLogger("uvicorn.access").disabled = True  # it would keep the token; Streamlit undoes `access_log=False`
    uvicorn.run(app, host=given.host, port=given.port, log_config=None, timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
