"""Everything decided before encoding: the pieces of a corpus, the split, and the tokenizer."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gptcore.closure import code_sha256
from gptcore.config.paths import Paths
from gptcore.corpus.chat_template import TEMPLATE
from gptcore.corpus.split import TokenizeConfig, split_points, split_text
from gptcore.errors import UserError
from gptcore.tokens.encode import EncodeJob, Int32s, Look, LookJob, look
from gptcore.tokens.make_tokenizer import (
    byte_tokenizer,
    char_tokenizer,
    sentencepiece_tokenizer,
    start_tokenizer,
    tiktoken_tokenizer,
    train_bpe,
)
from gptcore.tokens.pieces import Piece, pieces, read_piece
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.tokens.workers import Workers


@dataclass(frozen=True)
class Plan:
    """One independent job per piece; `first_documents` is the number of each piece's first document.

    The name of `folder` is a hash of all inputs, so clones can share it and a new run finds the pieces of a killed one.
    """

    tokenizer: Tokenizer
    folder: Path
    jobs: list[EncodeJob]
    first_documents: list[int]

    def save_tokenizer(self) -> None:
        """Save the tokenizer where the jobs load it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save(self.folder / "tokenizer.json")


def make_plan(config: TokenizeConfig, paths: Paths, workers: Workers) -> Plan:
    """Reads the corpus once, and a second time to train a bpe. Raises UserError."""
    corpus = paths.raw / "documents.jsonl"
    parts = list(pieces(corpus))
    if not parts:
        raise UserError(f"{corpus} is empty; take a corpus with text")
    first = [LookJob(corpus, part, config.seed, config.tokenizer == "char") for part in parts]
    looks = list(workers.in_order(look, first))
    sizes, draws = np.concatenate([seen.sizes for seen in looks]), np.concatenate([seen.draws for seen in looks])
    ends = np.cumsum([len(seen.sizes) for seen in looks])
    points = np.split(split_points(sizes, draws, config).astype(np.int32), ends[:-1])
    tokenizer = _make_tokenizer(config, paths, looks, _training_text(corpus, parts, points, config.sample_bytes))
    if any(seen.has_turns for seen in looks) and not tokenizer.chat_template:
        tokenizer = replace(tokenizer, chat_template=TEMPLATE)
    folder = paths.scratch / "tokenize" / _identity(tokenizer, [sizes, draws, *points])
    jobs = [EncodeJob(corpus, part, at, folder) for part, at in zip(parts, points, strict=True)]
    return Plan(tokenizer, folder, jobs, [0, *ends[:-1].tolist()])


def _training_text(corpus: Path, parts: list[Piece], points: list[Int32s], at_most: int) -> Iterator[str]:
    """The training texts of every k-th piece, with k chosen so that the sample spans the corpus."""
    every = -(-parts[-1].end // at_most)
    for part, of_texts in list(zip(parts, points, strict=True))[::every]:
        for document, at in zip(read_piece(corpus, part)[1], of_texts, strict=True):
            text = split_text(document.text.encode(), at)[0][:at_most]
            at_most -= len(text)
            if text:
                yield text.decode(errors="ignore")


def _make_tokenizer(config: TokenizeConfig, paths: Paths, looks: list[Look], training_text: Iterator[str]) -> Tokenizer:
    match config.tokenizer:
        case "byte":
            return byte_tokenizer()
        case "char":
            return char_tokenizer(seen.characters for seen in looks)
        case "gpt2" | "cl100k_base" | "o200k_base":
            return tiktoken_tokenizer(config.tokenizer, paths.raw / f"{config.tokenizer}.tiktoken")
        case "sentencepiece":
            return sentencepiece_tokenizer(paths.raw / "sentencepiece.model")
        case "bpe":
            return train_bpe(training_text, config.vocab_size)
        case "start":
            return start_tokenizer(paths.start / "model")


def _identity(tokenizer: Tokenizer, texts: list[npt.NDArray[Any]]) -> str:
    """A hash of everything that determines the pieces: code, tokenizer, and statistics of the texts."""
    digest = hashlib.sha256(tokenizer.to_json().encode())
    digest.update(code_sha256("gptcore.tokens.encode").encode())  # changed code never reuses old results
    for each in texts:
        digest.update(each.tobytes())
    return digest.hexdigest()
