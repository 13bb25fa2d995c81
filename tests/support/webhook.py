"""A web server on this machine that stores what is posted to it, in place of Slack and of our server."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Webhook:
    """`texts` are those of the messages posted to `address`; `posted` has path and authorization of the others."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.texts: list[str] = []
        self.posted: list[tuple[str, str | None]] = []


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Run a webhook until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if "text" in body:
                told.texts.append(body["text"])
            else:
                told.posted.append((self.path, self.headers["Authorization"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told = Webhook(f"http://127.0.0.1:{server.server_port}/")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
