"""llama.cpp as a consumer: its own server in this process, asked over loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import requests
import torch
from torch import Tensor

from gptcore.errors import UserError
from gptcore.weights.exports.target import Consumer

FORCED = 1e4  # added to a logit, it decides; probabilities are reported as before it
SECONDS = 600


class LlamaCpp:
    def __init__(self, path: Path, context: int, streams: int = 1) -> None:
        """As many `streams` at once, with a context each. Raises UserError."""
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx, params.n_parallel, params.port = context * streams, streams, 0
        params.cpuparams.n_threads = torch.get_num_threads()
        params.warmup, params.verbosity = False, -1
        # what it keeps of a prompt is rounded to half precision by default, which would count as the file's loss
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        try:
            self.server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise UserError(f"llama.cpp cannot load {path.name}: {error}") from None
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy between this process and itself

    def ask(self, path: str, **body: Any) -> Any:
        answer = self.session.post(f"{self.server.listening_address}{path}", json=body, timeout=SECONDS)
        answer.raise_for_status()
        return answer.json()

    def after(self, prompt: list[int], forced: int, n_probs: int) -> dict[str, Any] | None:
        """The probabilities after a prompt; None where `forced` is a part of a character."""
        told = self.ask(
            "/completion", prompt=prompt, n_predict=1, n_probs=n_probs, logit_bias=[[forced, FORCED]],
            cache_prompt=True, temperature=0,
        )  # fmt: skip
        found = told.get("completion_probabilities")
        return found[0] if found else None

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.ask("/tokenize", content=text)["tokens"]
        return ids

    def close(self) -> None:
        self.session.close()
        del self.server


@contextmanager
def llama_cpp(path: Path, context: int, vocab_size: int) -> Iterator[Consumer]:
    opened = LlamaCpp(path, context)
    whole = opened.encode("a")[0]

    def last(ids: Tensor) -> Tensor:
        """Over the whole vocabulary, after the last id: (B, 1, V)."""
        found = torch.full((len(ids), 1, vocab_size), torch.nan)
        for row, prompt in zip(found, ids.tolist(), strict=True):
            told = opened.after(prompt, whole, vocab_size) or {"top_logprobs": []}
            for each in told["top_logprobs"]:
                row[0, each["id"]] = each["logprob"]
        return found

    def losses(window: Tensor) -> Tensor:
        ids = window[0].tolist()
        found = torch.full((1, len(ids) - 1), torch.nan, dtype=torch.float64)
        for at in range(1, min(len(ids), context)):
            if told := opened.after(ids[:at], ids[at], 1):
                found[0, at - 1] = -told["logprob"]
        return found

    try:
        yield Consumer(
            "llama.cpp (xllamacpp)", version("xllamacpp"), {"of the whole vocabulary": last}, normalized=True,
            longest=context - 1, losses=losses, encode=opened.encode,
        )  # fmt: skip
    finally:
        opened.close()
