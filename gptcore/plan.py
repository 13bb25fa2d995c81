"""What is decided before the first token: the pieces of a corpus, which text is for what, and the tokenizer."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gptcore.encode import EncodeJob, Int32s, Look, LookJob, look
from gptcore.errors import UserError
from gptcore.params import Paths
from gptcore.pieces import Piece, pieces, read_piece
from gptcore.split import TokenizeConfig, split_points, split_text
from gptcore.tokenizer import (
    Tokenizer,
    byte_tokenizer,
    char_tokenizer,
    sentencepiece_tokenizer,
    tiktoken_tokenizer,
    train_bpe,
)
from gptcore.workers import in_order

SHAPING = ("encode", "fast_split", "split", "tokenizer")  # other code never takes what this one has made


@dataclass(frozen=True)
class Plan:
    """A job a piece, each independent of the others; `first_documents` numbers each piece's first document."""

    tokenizer: Tokenizer
    jobs: list[EncodeJob]
    first_documents: list[int]


def make_plan(config: TokenizeConfig, paths: Paths) -> Plan:
    """Reads the corpus once, and once more to train a bpe; writes the tokenizer to scratch. Raises UserError."""
    corpus = paths.raw / "documents.jsonl"
    parts = list(pieces(corpus))
    if not parts:
        raise UserError(f"{corpus} is empty; take a corpus with text")
    looks = list(in_order(look, [LookJob(corpus, part, config.seed, config.tokenizer == "char") for part in parts]))
    sizes, draws = np.concatenate([seen.sizes for seen in looks]), np.concatenate([seen.draws for seen in looks])
    ends = np.cumsum([len(seen.sizes) for seen in looks])
    points = np.split(split_points(sizes, draws, config).astype(np.int32), ends[:-1])
    tokenizer = _make_tokenizer(config, paths.raw, looks, _training_text(corpus, parts, points, config.sample_bytes))
    folder = _folder(paths.scratch / "tokenize", tokenizer)
    jobs = [EncodeJob(corpus, part, at, folder) for part, at in zip(parts, points, strict=True)]
    return Plan(tokenizer, jobs, [0, *ends[:-1].tolist()])


def _training_text(corpus: Path, parts: list[Piece], points: list[Int32s], at_most: int) -> Iterator[str]:
    """The training texts of every piece, or of every second, third... piece, so that the sample spans the corpus."""
    every = -(-parts[-1].end // at_most)
    for part, of_texts in list(zip(parts, points, strict=True))[::every]:
        for document, at in zip(read_piece(corpus, part)[1], of_texts, strict=True):
            text = split_text(document.text.encode(), at)[0][:at_most]
            at_most -= len(text)
            if text:
                yield text.decode(errors="ignore")


def _make_tokenizer(config: TokenizeConfig, raw: Path, looks: list[Look], training_text: Iterator[str]) -> Tokenizer:
    match config.tokenizer:
        case "byte":
            return byte_tokenizer()
        case "char":
            return char_tokenizer(seen.characters for seen in looks)
        case "gpt2" | "cl100k_base" | "o200k_base":
            return tiktoken_tokenizer(config.tokenizer, raw / f"{config.tokenizer}.tiktoken")
        case "sentencepiece":
            return sentencepiece_tokenizer(raw / "sentencepiece.model")
        case "bpe":
            return train_bpe(training_text, config.vocab_size)


def _folder(scratch: Path, tokenizer: Tokenizer) -> Path:
    """Where pieces are kept that this tokenizer has encoded, by this code, with a copy of it."""
    scratch.mkdir(parents=True, exist_ok=True)
    tokenizer.save(scratch / "tokenizer.json")
    shapes = [*(Path(__file__).with_name(f"{each}.py") for each in SHAPING), scratch / "tokenizer.json"]
    folder = scratch / hashlib.sha256(b"".join(path.read_bytes() for path in shapes)).hexdigest()
    folder.mkdir(exist_ok=True)
    (scratch / "tokenizer.json").replace(folder / "tokenizer.json")
    return folder
