"""A web server on this machine that stores what is posted to it, in place of Slack."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Webhook:
    """`texts` are the texts of the messages posted to `address`."""

    def __init__(self, address: str, texts: list[str]) -> None:
        self.address, self.texts = address, texts


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Run a webhook until the block ends."""
    texts: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Webhook(f"http://127.0.0.1:{server.server_port}/", texts)
    finally:
        server.shutdown()
        server.server_close()
