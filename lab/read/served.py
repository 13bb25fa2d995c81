"""Servers of models, and the texts that they make: a text goes on while nobody looks."""

import atexit
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from gptcore.errors import Unavailable, UserError

LIKELIEST = 4  # other ids whose probabilities are told
FEW_SLOTS = "4"
SERVING = "http://127.0.0.1:8000"  # of `make serve`
START_SECONDS, STOP_SECONDS = 120.0, 5.0
KEY = "GPTCORE_SERVING_KEY"


@dataclass(frozen=True)
class Ready:
    """What serves at an address."""

    version: int
    sha256: str


def ready(address: str) -> Ready | None:
    """None if nothing answers there, or it is not ready."""
    with suppress(httpx.HTTPError, ValueError, KeyError):
        answer = httpx.get(f"{address}/ready", timeout=2.0, trust_env=False)
        if answer.status_code == 200:
            values = answer.json()
            return Ready(values["version"], values["sha256"])
    return None


class Child:
    """A server of one version, on this machine, for the playground alone. It ends with the lab."""

    def __init__(self, model: str, logs: Path) -> None:
        """Raises UserError if it does not start."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self.address = f"http://127.0.0.1:{port}"
        logs.mkdir(parents=True, exist_ok=True)
        self.log = logs / f"serving-{model.replace('@', '-')}.log"
        command = [sys.executable, "-m", "serving", "--model", model, "--port", str(port), "--slots", FEW_SLOTS]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        atexit.register(self.stop)
        self._wait(model)

    def _wait(self, model: str) -> None:
        give_up = time.monotonic() + START_SECONDS
        while not ready(self.address):
            if self.process.poll() is not None or time.monotonic() > give_up:
                self.stop()
                lines = self.log.read_text(errors="replace").strip().splitlines() or [f"see {self.log}"]
                raise UserError(f"the server of {model} does not start: {lines[-1].removeprefix('error: ')}")
            time.sleep(0.2)

    def stop(self) -> None:
        atexit.unregister(self.stop)
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True)
class Piece:
    """Some text with its log-probability, and what else was likely; None where the server does not tell."""

    text: str
    logprob: float | None = None
    others: Mapping[str, float] = field(default_factory=dict)


class Text:
    """A text that a server makes, in a thread of its own. `error` says why there is no more."""

    def __init__(self, address: str, body: Mapping[str, Any]) -> None:
        self.pieces: list[Piece] = []
        self.error, self.fingerprint, self.is_done = "", "", False
        self.began = time.monotonic()
        self.seconds = 0.0
        threading.Thread(target=self._make, args=(address, body), name="text", daemon=True).start()

    def _make(self, address: str, body: Mapping[str, Any]) -> None:
        try:
            for chunk in streamed(address, body):
                self.fingerprint = chunk.get("system_fingerprint", self.fingerprint)
                for choice in chunk.get("choices", []):
                    self.pieces += pieces(choice)
        except UserError as error:
            self.error = str(error)
        finally:
            self.seconds, self.is_done = time.monotonic() - self.began, True

    def text(self) -> str:
        return "".join(each.text for each in self.pieces)


def route(body: Mapping[str, Any]) -> str:
    """Messages are a conversation, of a model that has a chat template."""
    return "/v1/chat/completions" if "messages" in body else "/v1/completions"


def streamed(address: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The chunks of a completion, or of an answer in a conversation. Raises UserError, Unavailable."""
    likeliest = {"logprobs": True, "top_logprobs": LIKELIEST} if "messages" in body else {"logprobs": LIKELIEST}
    whole = {**body, "stream": True, **likeliest}
    url = address + route(body)
    try:
        with httpx.stream("POST", url, json=whole, headers=_headers(), timeout=60.0, trust_env=False) as answer:
            if answer.is_error:
                answer.read()
                raise UserError(_said(answer.text))
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    chunk = json.loads(line.removeprefix("data: "))
                    if "error" in chunk:
                        raise UserError(str(chunk["error"]["message"]))
                    yield chunk
    except httpx.HTTPError as error:
        raise Unavailable(f"the server at {address} does not answer: {str(error) or type(error).__name__}") from None


def pieces(choice: Mapping[str, Any]) -> Iterator[Piece]:
    """Of a chunk: tokens with their probabilities where it has them, else its text."""
    told = choice.get("logprobs") or {}
    text = choice["text"] if "text" in choice else choice["delta"].get("content") or ""
    if "content" in told:
        found = [
            Piece(each["token"], each["logprob"], {other["token"]: other["logprob"] for other in each["top_logprobs"]})
            for each in told["content"] or ()
        ]
    else:
        columns = (told.get(name) or () for name in ("tokens", "token_logprobs", "top_logprobs"))
        found = [Piece(token, logprob, others or {}) for token, logprob, others in zip(*columns, strict=True)]
    # ids that are no whole character have no text of their own
    yield from found if "".join(each.text for each in found) == text else [Piece(text)]


def _headers() -> dict[str, str]:
    key = os.environ.get(KEY)
    return {"Authorization": f"Bearer {key}"} if key else {}


def _said(text: str) -> str:
    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(text)["error"]["message"])
    return text[:300]
