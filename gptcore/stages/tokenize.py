"""Split documents into training and validation, train the tokenizer, write token files."""

from collections.abc import Iterator
from pathlib import Path

from gptcore.documents import Document, read_documents
from gptcore.params import Metrics, Paths, run_stage
from gptcore.progress import Progress
from gptcore.split import TokenizeConfig, split_text, training_bytes
from gptcore.tokenizer import Tokenizer, byte_tokenizer, char_tokenizer, gpt2_tokenizer, train_bpe
from gptcore.tokens import Split, write_tokens


class TokenizeMetrics(Metrics):
    """`bytes_per_token` is over both splits: text bytes in UTF-8 / tokens, <|endoftext|> included."""

    vocab_size: int
    train_tokens: int
    val_tokens: int
    bytes_per_token: float


def tokenize(tokenize: TokenizeConfig, paths: Paths) -> TokenizeMetrics:
    """Write data/tokens from data/raw. Raises UserError."""
    corpus = paths.raw / "documents.jsonl"
    training = training_bytes((document.text for document in read_documents(corpus)), tokenize)
    tokenizer = _make_tokenizer(tokenize, corpus, training, paths.raw / "gpt2.tiktoken")
    with Progress("tokenize", len(training), "document") as progress:
        meta = write_tokens(paths.tokens, tokenizer, _parts(_counted(read_documents(corpus), progress), training))
    return TokenizeMetrics(
        vocab_size=meta.vocab_size,
        train_tokens=meta.train.tokens,
        val_tokens=meta.val.tokens,
        bytes_per_token=(meta.train.bytes + meta.val.bytes) / (meta.train.tokens + meta.val.tokens),
    )


def _make_tokenizer(config: TokenizeConfig, corpus: Path, training: list[int], gpt2_ranks: Path) -> Tokenizer:
    match config.tokenizer:
        case "byte":
            return byte_tokenizer()
        case "char":
            return char_tokenizer(document.text for document in read_documents(corpus))
        case "gpt2":
            return gpt2_tokenizer(gpt2_ranks)
        case "bpe":
            texts = (text for split, _, text in _parts(read_documents(corpus), training) if split == "train")
            return train_bpe(texts, config.vocab_size)


def _parts(documents: Iterator[Document], training: list[int]) -> Iterator[tuple[Split, str, str]]:
    """Split, title and text of each part of each document that is not empty."""
    for document, training_size in zip(documents, training, strict=True):
        head, tail = split_text(document.text, training_size)
        if head:
            yield "train", document.title, head
        if tail:
            yield "val", document.title, tail


def _counted(documents: Iterator[Document], progress: Progress) -> Iterator[Document]:
    for done, document in enumerate(documents, start=1):
        yield document
        progress.update(done, document.title)


if __name__ == "__main__":
    run_stage(tokenize)
