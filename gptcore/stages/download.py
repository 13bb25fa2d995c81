"""Fetch the corpus, verify it and keep its documents apart; GPT-2's vocabulary too if the tokenizer is gpt2."""

import hashlib
from pathlib import Path

from gptcore.corpus import Corpus, DataConfig
from gptcore.documents import OtherText, write_documents
from gptcore.errors import UserError
from gptcore.fetch import archive_files, fetch_package
from gptcore.files import atomic_path, write_json
from gptcore.params import Metrics, Paths, run_stage
from gptcore.selection import Dropped
from gptcore.split import TokenizerChoice

# The package openai-whisper carries GPT-2's 50,256 ranks as tiktoken writes them; tiktoken itself would download them.
GPT2_PACKAGE, GPT2_VERSION, GPT2_FILE = "openai-whisper", "20250625", "whisper/assets/gpt2.tiktoken"
GPT2_SHA256 = "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"


class DownloadMetrics(Metrics):
    """What was fetched; `bytes` are those of the texts in UTF-8."""

    documents: int
    bytes: int
    dropped: Dropped


def download(data: DataConfig, tokenize: TokenizerChoice, paths: Paths) -> DownloadMetrics:
    """Write data/raw: documents.jsonl, sources.json, and gpt2.tiktoken if it is needed. Raises UserError."""
    scratch = paths.scratch / "download"
    corpus = Corpus(data, paths.root, scratch)
    try:
        written = write_documents(paths.raw / "documents.jsonl", corpus.documents(), data.sha256)
    except OtherText:
        if not any("://" in source for source in data.sources):
            raise
        # what is kept here may be older than the text that is pinned
        corpus = Corpus(data, paths.root, scratch, ask_again=True)
        written = write_documents(paths.raw / "documents.jsonl", corpus.documents(), data.sha256)
    files = [{"address": address, "size": each.size, "sha256": each.sha256} for address, each in corpus.files]
    write_json(paths.raw / "sources.json", {"text_sha256": written.text_sha256, "files": files})
    if tokenize.tokenizer == "gpt2":
        fetch_gpt2_ranks(paths.raw / "gpt2.tiktoken", scratch)
    return DownloadMetrics(documents=written.documents, bytes=written.bytes, dropped=corpus.selection.dropped)


def fetch_gpt2_ranks(path: Path, scratch: Path) -> None:
    """Write GPT-2's vocabulary to `path`; what is downloaded is kept in `scratch`. Raises UserError."""
    [ranks] = archive_files(fetch_package(GPT2_PACKAGE, GPT2_VERSION, scratch), GPT2_FILE).values()
    if (found := hashlib.sha256(ranks).hexdigest()) != GPT2_SHA256:
        raise UserError(f"{GPT2_FILE} of {GPT2_PACKAGE} {GPT2_VERSION} has the sha256 {found}, not {GPT2_SHA256}")
    with atomic_path(path) as temporary:
        temporary.write_bytes(ranks)


if __name__ == "__main__":
    run_stage(download)
