"""Fetch the corpus, verify it and keep its documents apart; GPT-2's vocabulary too if the tokenizer is gpt2."""

import hashlib
from pathlib import Path

from gptcore.corpus import DataConfig, corpus_documents, write_documents
from gptcore.errors import UserError
from gptcore.fetch import archive_files, fetch_package
from gptcore.files import atomic_path
from gptcore.params import Metrics, Paths, run_stage
from gptcore.split import TokenizerChoice

# The package openai-whisper carries GPT-2's 50,256 ranks as tiktoken writes them; tiktoken itself would download them.
GPT2_PACKAGE, GPT2_VERSION, GPT2_FILE = "openai-whisper", "20250625", "whisper/assets/gpt2.tiktoken"
GPT2_SHA256 = "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"


class DownloadMetrics(Metrics):
    """What was fetched; `bytes` are those of the texts in UTF-8."""

    documents: int
    bytes: int


def download(data: DataConfig, tokenize: TokenizerChoice, paths: Paths) -> DownloadMetrics:
    """Write data/raw/documents.jsonl, and data/raw/gpt2.tiktoken if it is needed. Raises UserError."""
    scratch = paths.scratch / "download"
    documents = corpus_documents(data.source, data.sha256, paths.root, scratch)
    count, size = write_documents(paths.raw / "documents.jsonl", documents, data.sha256)
    if tokenize.tokenizer == "gpt2":
        fetch_gpt2_ranks(paths.raw / "gpt2.tiktoken", scratch)
    return DownloadMetrics(documents=count, bytes=size)


def fetch_gpt2_ranks(path: Path, scratch: Path) -> None:
    """Write GPT-2's vocabulary to `path`; what is downloaded is kept in `scratch`. Raises UserError."""
    [ranks] = archive_files(fetch_package(GPT2_PACKAGE, GPT2_VERSION, scratch), GPT2_FILE).values()
    if (found := hashlib.sha256(ranks).hexdigest()) != GPT2_SHA256:
        raise UserError(f"{GPT2_FILE} of {GPT2_PACKAGE} {GPT2_VERSION} has the sha256 {found}, not {GPT2_SHA256}")
    with atomic_path(path) as temporary:
        temporary.write_bytes(ranks)


if __name__ == "__main__":
    run_stage(download)
