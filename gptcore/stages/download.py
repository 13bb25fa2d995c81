"""Download the corpus, verify it and write its documents; also the tokenizer's vocabulary if it is a file."""

from gptcore.addresses import redacted
from gptcore.config.params import Metrics
from gptcore.config.paths import STREAM, Paths
from gptcore.corpus.corpus import Corpus, DataConfig
from gptcore.corpus.documents import OtherText, write_documents
from gptcore.corpus.formats.pairs import Pairs
from gptcore.corpus.selection import Dropped
from gptcore.corpus.split import TokenizerChoice
from gptcore.corpus.stream import pinned_files, write_stream
from gptcore.corpus.vocabulary import fetch_vocabulary
from gptcore.files import SUMS, sha256sums, write_json, write_text
from gptcore.stages.run_stage import run_stage


class DownloadMetrics(Metrics):
    """What was downloaded; `bytes` counts the texts in UTF-8, `left_out` names in folders that were not read."""

    documents: int
    bytes: int
    left_out: int
    dropped: Dropped


def download(data: DataConfig, tokenize: TokenizerChoice, paths: Paths) -> DownloadMetrics:
    """Write data/raw: documents.jsonl, sources.json, and the tokenizer's vocabulary file. Raises UserError."""
    scratch = paths.scratch / "download"
    corpus = Corpus(data, paths.root, scratch, ask_again=data.mode == "stream")
    pinned = pinned_files(corpus) if data.mode == "stream" else ()
    documents = paths.raw / "documents.jsonl"
    text_sha256 = "" if pinned else data.sha256
    try:
        written = write_documents(documents, corpus.documents(), text_sha256)
    except OtherText:
        if not any("://" in source for source in data.sources):
            raise
        # the local copy may be older than the pinned text
        corpus = Corpus(data, paths.root, scratch, ask_again=True)
        written = write_documents(documents, corpus.documents(), text_sha256)
    for each in {*paths.raw.iterdir()} - {documents}:
        each.unlink()  # files of a previous corpus, if the folder was not cleared
    if pinned:
        write_stream(paths.raw / STREAM, corpus, pinned)
    files = [{"address": redacted(address), "size": each.size, "sha256": each.sha256} for address, each in corpus.files]
    write_json(paths.raw / "sources.json", {"text_sha256": written.text_sha256, "files": files})
    fetch_vocabulary(tokenize, paths.raw, paths.root, scratch)
    write_text(paths.raw / SUMS, sha256sums(paths.raw))
    if isinstance(corpus.template, Pairs) and not data.pairs:
        print("download  the records are prompts with responses: only the responses are learned", flush=True)
    if corpus.left_out:
        print(f"download  left out: {corpus.left_out}", flush=True)
    return DownloadMetrics(
        documents=written.documents,
        bytes=written.bytes,
        left_out=len(corpus.left_out),
        dropped=corpus.selection.dropped,
    )


if __name__ == "__main__":
    run_stage(download)
