"""Which text trains the model and which validates it: the settings of the tokenize stage, and the split itself.

Apart from the tokenizer's code, so that the download stage, which needs only the tokenizer's name, does not depend on
it.
"""

import hashlib
from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from gptcore.errors import UserError
from gptcore.params import Section, View

TokenizerKind = Literal["bpe", "gpt2", "char", "byte"]


class TokenizerChoice(View):
    """What the download stage must know of the tokenize section: GPT-2's vocabulary is fetched only if asked for."""

    tokenizer: TokenizerKind


class TokenizeConfig(Section):
    """How documents are split and turned into tokens."""

    tokenizer: TokenizerKind = Field(description="bpe (trained on the training split), gpt2, char or byte")
    vocab_size: int = Field(ge=257, description="ids of a trained bpe, 256 bytes and <|endoftext|> included; bpe only")
    val_fraction: float = Field(gt=0, lt=1, description="share of the corpus' bytes kept for validation")
    val_split: Literal["documents", "tail"] = Field(description="whole documents, or the end of the concatenated text")
    seed: int = Field(ge=0, description="chooses the validation documents; not used by tail")


def training_bytes(texts: Iterable[str], config: TokenizeConfig) -> list[int]:
    """How many leading bytes of each text are for training; the rest of it is for validation.

    `documents` gives whole texts, in an order drawn from the seed, to validation until it holds `val_fraction` of the
    bytes; identical texts go together, so none is on both sides. `tail` cuts the concatenated text once, like nanoGPT.
    Raises UserError when a side would be empty.
    """
    sizes, draws = [], []
    for text in texts:
        encoded = text.encode()
        sizes.append(len(encoded))
        # a hash of seed and text shuffles, and does so alike with every version of every random generator
        draws.append(hashlib.sha256(f"{config.seed}\n".encode() + encoded).digest())
    if config.val_split == "tail":
        return _tail(sizes, config.val_fraction)
    return _documents(sizes, draws, config.val_fraction)


def split_text(text: str, training: int) -> tuple[str, str]:
    """The training and the validation part of a text, cut after `training` bytes or at the character before."""
    head = text.encode()[:training].decode(errors="ignore")
    return head, text[len(head) :]


def _documents(sizes: list[int], draws: list[bytes], val_fraction: float) -> list[int]:
    missing, last = val_fraction * sum(sizes), b""
    for draw, size in sorted(zip(draws, sizes, strict=True)):
        if missing > 0:
            last = draw
        missing -= size
    training = [0 if draw <= last else size for draw, size in zip(draws, sizes, strict=True)]
    if not any(training):
        raise UserError(
            f"tokenize.val_fraction={val_fraction} leaves none of the corpus' {len(sizes):,} document(s) for training; "
            "set tokenize.val_split=tail to cut inside a document, or another fraction or seed"
        )
    return training


def _tail(sizes: list[int], val_fraction: float) -> list[int]:
    left = int(sum(sizes) * (1 - val_fraction))
    if left == 0:
        raise UserError(f"the corpus of {sum(sizes):,} bytes is too short for tokenize.val_fraction={val_fraction}")
    training = []
    for size in sizes:
        training.append(min(size, left))
        left -= training[-1]
    return training
