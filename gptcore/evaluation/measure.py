"""Measure one model, from anywhere, on the validation text of a checkout, which need not have the model's tokenizer."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gptcore.config.settings import settings
from gptcore.errors import UserError
from gptcore.evaluation.config import EvaluateConfig
from gptcore.evaluation.measured import Measured, measured
from gptcore.evaluation.tally import tally, window_starts
from gptcore.model.folder import load_export
from gptcore.progress import Progress
from gptcore.tokens.token_files import INDEX, Tokens, TokensMeta, open_tokens, read_index, verify_tokens
from gptcore.tokens.tokenizer import END_OF_TEXT, Tokenizer


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


def tokens_for(
    tokenizer: Tokenizer, folder: Path, meta: TokensMeta
) -> tuple[Tokens | NDArray[np.unsignedinteger], NDArray[np.int64]]:
    """The validation text in ids of `tokenizer`, and where each document starts. Raises UserError."""
    if tokenizer == Tokenizer.load(folder / "tokenizer.json"):
        return open_tokens(folder, "val"), read_index(folder, "val")[:, INDEX.index("start")]
    return _encoded(tokenizer, _texts(folder, meta))


def _texts(folder: Path, meta: TokensMeta) -> list[str]:
    """The validation texts: decoding gives back what was encoded, and the hash shows it."""
    tokenizer, tokens = Tokenizer.load(folder / "tokenizer.json"), open_tokens(folder, "val")
    starts = read_index(folder, "val")[:, INDEX.index("start")]
    spans = zip(starts, [*starts[1:], len(tokens)], strict=True)
    texts = [tokenizer.decode(tokens[np.arange(start + 1, end)]) for start, end in spans]
    digests = b"".join(hashlib.sha256(text.encode()).digest() for text in texts)
    if hashlib.sha256(digests).hexdigest() != meta.val.text_sha256:
        raise UserError(f"decoding the validation tokens of {folder} gives another text; make them anew: `dvc repro`")
    return texts


def _encoded(tokenizer: Tokenizer, texts: list[str]) -> tuple[NDArray[np.unsignedinteger], NDArray[np.int64]]:
    """Ids and where each text starts."""
    ids = tokenizer.encode_documents(texts)
    starts = np.flatnonzero(ids == tokenizer.eot_id)
    whole = "".join(END_OF_TEXT + text for text in texts).encode()
    if len(starts) != len(texts) or not tokenizer.gives(ids, whole):
        raise UserError("its tokenizer does not give the validation text back, so its losses would not count all of it")
    return ids, starts
