"""A web server on loopback with range requests, ETags and faults."""

import base64
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Web:
    """Serves `files` (name -> content). Each of `faults` breaks one request: a status to answer, "cut" to close the
    connection half way, "stall" to go silent half way, "page" to answer a page with status 200, "part" to answer the
    whole as a part; None is no fault.

    `ranges` and `etags` switch these features. `part` lies about a part: from the start asked for and the size it makes
    the start of what is sent, and the Content-Range. `headers` go with each answer, `redirects` are a path -> Location.
    Requests without `login` (`name:password`) get 401. `requests` are the (path, Range) received.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.ranges = self.etags = True
        self.etag = ""  # the same for whatever content
        self.part: Callable[[int, int], tuple[int, str]] | None = None
        self.headers: dict[str, str] = {}
        self.redirects: dict[str, str] = {}
        self.login = ""
        self.stall_seconds = 1.0
        self.faults: list[int | str | None] = []
        self.requests: list[tuple[str, str | None]] = []
        self.sent_bytes = 0
        self.port = 0

    def url(self, file: str) -> str:
        return f"http://127.0.0.1:{self.port}/{file}"


@contextmanager
def serve(web: Web) -> Iterator[Web]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(None)

        def do_GET(self) -> None:
            web.requests.append((self.path, self.headers.get("Range")))
            self._answer(web.faults.pop(0) if web.faults else None)

        def _answer(self, fault: int | str | None) -> None:
            given = self.headers.get("Authorization", "Basic ").removeprefix("Basic ")
            if base64.b64decode(given).decode() != web.login:
                fault = 401
            name = self.path.strip("/").partition("?")[0]
            content = web.files.get(name)
            if name in web.redirects:
                self._head(302, {"Location": web.redirects[name]}, 0)
                return
            if content is None or isinstance(fault, int):
                self._head(fault if isinstance(fault, int) else 404, {}, 0)
                return
            etag = (web.etag or f'"{hashlib.md5(content).hexdigest()}"') if web.etags else ""
            start, size, headers = self._start(etag), len(content), {"ETag": etag} if etag else {}
            if start and start >= size:
                self._head(416, {"Content-Range": f"bytes */{size}"}, 0)
                return
            if fault == "page":
                content, start = b"<!DOCTYPE html><html><body>Please sign in.</body></html>", 0
            partial = bool(start) or fault == "part"
            if partial:
                headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
                if web.part:
                    start, headers["Content-Range"] = web.part(start, size)
            self._head(206 if partial else 200, headers, len(content) - start)
            if self.command == "GET":
                self._send(content[start:], fault)

        def _head(self, status: int, headers: dict[str, str], size: int) -> None:
            self.send_response(status)
            for name, value in {**headers, **web.headers, "Content-Length": str(size)}.items():
                self.send_header(name, value)
            self.end_headers()

        def _start(self, etag: str) -> int:
            asked = self.headers.get("Range", "")
            same = self.headers.get("If-Range", etag) == etag
            return int(asked.removeprefix("bytes=").rstrip("-")) if asked and same and web.ranges else 0

        def _send(self, content: bytes, fault: int | str | None) -> None:
            if fault in ("cut", "stall"):
                content = content[: len(content) // 2]
            with suppress(BrokenPipeError, ConnectionResetError):  # the client gave up waiting
                self.wfile.write(content)
                web.sent_bytes += len(content)
                self.wfile.flush()
                time.sleep(web.stall_seconds if fault == "stall" else 0)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
