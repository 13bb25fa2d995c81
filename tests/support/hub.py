"""A hub on loopback: the endpoints that huggingface_hub uses for models, and with datasets to stream data sets."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def asks(address: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client in this process know no other hub: what it reads of its environment when it is imported."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))


class Hub:
    """Serves the files of `repositories` (owner/name -> folder), all at the single revision `commit`.

    Each of `faults` breaks one content request: a status to answer, or "cut".
    """

    def __init__(self, repositories: dict[str, Path], commit: str) -> None:
        self.repositories, self.commit = repositories, commit
        self.faults: list[int | str] = []
        self.requests: list[str] = []
        self.authorizations: set[str] = set()  # sent with requests for file contents
        self.address = "http://127.0.0.1:9"  # nothing listens there

    def info(self, repository: str) -> dict[str, object]:
        files = [{"rfilename": each["path"]} for each in self.tree(repository)]
        return {"id": repository, "sha": self.commit, "siblings": files, "private": False, "gated": False,
                "disabled": False, "downloads": 0, "likes": 0, "tags": []}  # fmt: skip

    def tree(self, repository: str, below: str = ".") -> list[dict[str, object]]:
        folder = self.repositories[repository]
        return [_entry(each, folder) for each in sorted((folder / below).glob("*" if below != "." else "**/*"))]


def _entry(path: Path, folder: Path) -> dict[str, object]:
    if path.is_dir():
        return {"type": "directory", "path": str(path.relative_to(folder)), "oid": "0"}
    oid = hashlib.sha1(path.read_bytes()).hexdigest()
    return {"type": "file", "path": str(path.relative_to(folder)), "size": path.stat().st_size, "oid": oid}


@contextmanager
def serve_hub(hub: Hub) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            self._answer(body)

        def _answer(self, body: str = "") -> None:
            hub.requests.append(f"{self.command} {self.path}")
            path = unquote(urlsplit(self.path).path).strip("/")
            repository = next((name for name in hub.repositories if f"/{name}/" in f"/{path}/"), None)
            if repository is None:
                self._json({"error": "Repository not found"}, 404, "RepoNotFound")
                return
            rest = path.partition(repository)[2].strip("/").split("/")
            if len(rest) > 1 and rest[1] not in (hub.commit, "main"):
                self._json({"error": f"Invalid rev id: {rest[1]}"}, 404, "RevisionNotFound")
                return
            if not path.startswith("api/"):
                self._file(hub.repositories[repository] / "/".join(rest[2:]))
                return
            match rest[0]:
                case "" | "revision":
                    self._json(hub.info(repository))
                case "tree":
                    self._json(hub.tree(repository, "/".join(rest[2:]) or "."))
                case "paths-info":
                    asked = json.loads(body)["paths"]
                    self._json([each for each in hub.tree(repository) if each["path"] in asked])
                case _:
                    self._json({"error": "no"}, 404, "EntryNotFound")

        def _json(self, value: object, status: int = 200, code: str = "") -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def _file(self, file: Path) -> None:
            hub.authorizations.add(self.headers.get("Authorization", ""))
            if not file.is_file():
                self._json({"error": "Entry not found"}, 404, "EntryNotFound")
                return
            fault = hub.faults.pop(0) if hub.faults and self.command == "GET" else None
            if isinstance(fault, int):
                self._json({"error": "no"}, fault)
                return
            content = file.read_bytes()
            asked = self.headers.get("Range", "").removeprefix("bytes=")
            first, _, last = asked.partition("-")
            piece = content[int(first or 0) : int(last or len(content)) + 1]
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {first}-{int(first) + len(piece) - 1}/{len(content)}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", hub.commit)
            self.send_header("Content-Length", str(len(piece)))
            self.end_headers()
            if self.command != "HEAD":
                with suppress(BrokenPipeError, ConnectionResetError):
                    self.wfile.write(piece[: len(piece) // 2] if fault == "cut" else piece)
                    self.close_connection = fault == "cut"

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
