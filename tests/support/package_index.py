"""A package index on loopback that can inject faults."""

import hashlib
import io
import json
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class PackageIndex:
    """Serves `files` (name -> content) at /files/ and their packages at /simple/ (PEP 503 and 691).

    Each of `faults` breaks one request: a status to answer, "cut" to close the connection half way, "late" to
    answer after a second, "xml" to answer an error with status 200; None is no fault.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.html = False
        self.digests: dict[str, dict[str, str]] = {
            name: {"sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()
        }
        self.faults: list[int | str | None] = []
        self.requests: list[str] = []
        self.port = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/simple/"

    def url(self, file: str) -> str:
        return f"http://127.0.0.1:{self.port}/files/{file}"

    def page(self, package: str) -> tuple[str, bytes] | None:
        names = [name for name in self.files if name.replace("_", "-").startswith(package + "-")]
        if not names:
            return None
        if self.html:
            links = [f'<a href="{self.url(name)}{self._fragment(name)}">{name}</a>' for name in names]
            return "text/html", f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()
        listed = [{"filename": name, "url": self.url(name), "hashes": self.digests[name]} for name in names]
        page = {"meta": {"api-version": "1.0"}, "name": package, "files": listed}
        return "application/vnd.pypi.simple.v1+json", json.dumps(page).encode()

    def _fragment(self, name: str) -> str:
        return "".join(f"#{algorithm}={digest}" for algorithm, digest in self.digests[name].items())


@contextmanager
def serve(index: PackageIndex) -> Iterator[PackageIndex]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.requests.append(self.path)
            fault = index.faults.pop(0) if index.faults else None
            kind, _, name = self.path.strip("/").partition("/")
            content = ("application/octet-stream", index.files.get(name)) if kind == "files" else index.page(name)
            if fault == "xml":
                content = "application/xml", b"<Error><Code>NoSuchKey</Code></Error>"
            if content is None or content[1] is None:
                self.send_error(404)
            elif isinstance(fault, int):
                self.send_error(fault)
            else:
                time.sleep(1 if fault == "late" else 0)
                self.send_response(200)
                self.send_header("Content-Type", content[0])
                self.send_header("Content-Length", str(len(content[1])))
                self.end_headers()
                with suppress(BrokenPipeError):  # the client gave up waiting
                    self.wfile.write(content[1][: len(content[1]) // 2] if fault == "cut" else content[1])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    index.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def source_distribution(top: str, files: dict[str, str | bytes]) -> bytes:
    """A .tar.gz with `files` under the folder `top`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            raw = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))
    return buffer.getvalue()
