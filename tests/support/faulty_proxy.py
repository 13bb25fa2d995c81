"""A proxy for an HTTP server that fails on demand: it refuses, stalls, or drops the connection half-way."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["401", "500", "503", "stall", "drop"]
NOT_FORWARDED = ("connection", "transfer-encoding", "content-length", "date", "server")
REFUSAL = b"<Error><Code>%s</Code><Message>the test says so</Message></Error>"


@dataclass
class Plan:
    """Which requests fail: the next `left` that match `pattern` (`PUT /bucket/.*`)."""

    fault: Fault = "500"
    pattern: str = ""
    left: int = 0
    struck: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    connections: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def set(self, fault: Fault, pattern: str, times: int) -> None:
        self.fault, self.pattern, self.left, self.struck = fault, pattern, times, []

    def strikes(self, request: str) -> bool:
        with self.lock:
            self.requests.append(request)
            if not self.left or not re.match(self.pattern, request):
                return False
            self.left -= 1
            self.struck.append(request)
            return True


@contextmanager
def faulty_proxy(address: str) -> Iterator[tuple[str, Plan]]:
    """The proxy's address, and the plan that a test sets. The proxy stops when the block ends."""
    plan = Plan()
    upstream = urlsplit(address).netloc

    class Handler(_Handler):
        target, faults = upstream, plan

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", plan
    finally:
        plan.over.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target: str
    faults: Plan

    def setup(self) -> None:
        super().setup()
        self.faults.connections += 1

    def answer(self) -> None:
        size = int(self.headers.get("Content-Length", "0"))
        strikes = self.faults.strikes(f"{self.command} {self.path}")
        if strikes and self.command == "PUT" and self.faults.fault in ("stall", "drop"):
            self.rfile.read(size // 2)
            return self._break()
        body = self.rfile.read(size)
        if strikes and self.faults.fault in ("401", "500", "503"):
            return self._send(int(self.faults.fault), [], REFUSAL % self.faults.fault.encode())
        connection = HTTPConnection(self.target, timeout=60)
        connection.request(self.command, self.path, body, dict(self.headers.items()))
        answer = connection.getresponse()
        headers = [each for each in answer.getheaders() if each[0].lower() not in NOT_FORWARDED]
        length = answer.getheader("Content-Length", "0") if self.command == "HEAD" else None
        self._send(answer.status, headers, answer.read(), length, half=strikes)
        return connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = answer

    def _send(
        self, status: int, headers: list[tuple[str, str]], body: bytes, length: str | None = None, half: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in [*headers, ("Content-Length", length or str(len(body)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if half else body)
        if half:
            self._break()

    def _break(self) -> None:
        """Say no more: at once, or when the test is over."""
        self.wfile.flush()
        if self.faults.fault == "stall":
            self.faults.over.wait()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass
