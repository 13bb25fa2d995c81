"""Measure one model, from anywhere, on the validation text of a checkout, which need not have the model's tokenizer."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gptcore.config.settings import settings
from gptcore.corpus.documents import content, read_documents
from gptcore.errors import UserError
from gptcore.evaluation.config import EvaluateConfig
from gptcore.evaluation.measured import Measured, measured
from gptcore.evaluation.tally import tally, window_starts
from gptcore.model.folder import load_export
from gptcore.progress import Progress
from gptcore.tokens.token_files import INDEX, PairTokens, Tokens, TokensMeta, open_tokens, read_index, verify_tokens
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.tokens.written import written


def measure(folder: Path, export: Path, config: EvaluateConfig) -> Measured:
    """Measure the model folder `export` on the validation split of the token folder `folder`.

    Its windows are as long as the model's context allows. Raises UserError.
    """
    meta = verify_tokens(folder)
    model, tokenizer = load_export(export, settings().torch_device())
    index = read_index(folder, "val")
    tokens, starts = tokens_for(tokenizer, folder, meta)
    block_size = min(config.block_size, model.config.block_size)
    stride = min(config.stride, block_size)
    with Progress("measure", len(window_starts(len(tokens), block_size, stride)), "window") as progress:
        found = tally(model, tokens, starts, block_size, stride, progress)
    return measured(meta.val.text_sha256, index[:, INDEX.index("bytes")], found, None)


def tokens_for(tokenizer: Tokenizer, folder: Path, meta: TokensMeta) -> tuple[Tokens, NDArray[np.int64]]:
    """The validation text in ids of `tokenizer`, and where each document starts. Raises UserError."""
    if tokenizer == Tokenizer.load(folder / "tokenizer.json"):
        return open_tokens(folder, "val"), read_index(folder, "val")[:, INDEX.index("start")]
    return _encoded(tokenizer, _parts(folder, meta))


def _parts(folder: Path, meta: TokensMeta) -> list[list[bytes]]:
    """The parts of each validation text: decoding gives back what was encoded, and the hash shows it."""
    tokenizer, tokens = Tokenizer.load(folder / "tokenizer.json"), open_tokens(folder, "val")
    index = read_index(folder, "val")
    if tokenizer.has_other_template and isinstance(tokens, PairTokens):
        texts = _of_corpus(folder.parent / "raw" / "documents.jsonl", index[:, INDEX.index("line")].tolist())
    else:
        texts = _decoded(tokenizer, tokens, index[:, INDEX.index("start")], meta.eot_id)
    digests = b"".join(hashlib.sha256(content(parts)).digest() for parts in texts)
    if hashlib.sha256(digests).hexdigest() != meta.val.text_sha256:
        raise UserError(f"decoding the validation tokens of {folder} gives another text; make them anew: `dvc repro`")
    return texts


def _decoded(tokenizer: Tokenizer, tokens: Tokens, starts: NDArray[np.int64], eot_id: int) -> list[list[bytes]]:
    texts = []
    for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True):
        ids = tokens[np.arange(start, end)]
        ends = np.flatnonzero(ids == eot_id)  # one before each part
        texts.append([tokenizer.decode(each[1:]).encode() for each in np.split(ids, ends[1:])])
    return texts


def _of_corpus(corpus: Path, lines: list[int]) -> list[list[bytes]]:
    """What a chat template of others has made of prompts and responses cannot be undone."""
    wanted = {*lines}
    return [each.encoded for line, each in enumerate(read_documents(corpus)) if line in wanted]


def _encoded(tokenizer: Tokenizer, texts: list[list[bytes]]) -> tuple[Tokens, NDArray[np.int64]]:
    """Ids and where each text starts."""
    found = written(tokenizer, texts)
    if not found.is_whole:
        raise UserError("its tokenizer does not give the validation text back, so its losses would not count all of it")
    ids, starts, mask, _ = found
    return PairTokens(ids, mask, starts, tokenizer.eot_id) if len(mask) else ids, starts
