"""The training, validation and test split, and the settings of the tokenize stage.

Separate from the tokenizer's code, so that the download stage, which needs only the tokenizer's name, does not depend
on that code.
"""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Field, model_validator

from gptcore.addresses import without_secrets
from gptcore.config.params import Count, Section, Seed, View
from gptcore.errors import UserError

Address = Annotated[str, AfterValidator(without_secrets)]
TokenizerKind = Literal["bpe", "gpt2", "cl100k_base", "o200k_base", "char", "byte", "sentencepiece", "start"]
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class TokenizerChoice(View):
    """The fields of the tokenize section that the download stage needs to fetch the right vocabulary file."""

    tokenizer: TokenizerKind
    sentencepiece_model: Address
    sentencepiece_sha256: str


class TokenizeConfig(Section):
    """How documents are split and turned into tokens."""

    tokenizer: TokenizerKind = Field(
        description="bpe (trained on the training split), gpt2, cl100k_base, o200k_base, char, byte, sentencepiece, or "
        "start: that of train.start"
    )
    vocab_size: int = Field(
        ge=257, le=1 << 20, description="ids of a trained bpe, 256 bytes and <|endoftext|> included; bpe only"
    )
    sample_bytes: Count = Field(
        gt=0, description="training text that a bpe learns from, at most, spread evenly; bpe only"
    )
    sentencepiece_model: Address = Field(description="a .model file, or its http(s) address; sentencepiece only")
    sentencepiece_sha256: str = Field(description="digest of that file; sentencepiece only")
    val_fraction: float = Field(gt=0, lt=1, description="share of the corpus' bytes kept for validation")
    test_fraction: float = Field(ge=0, lt=1, description="share kept for a test that no choice is based on; 0 for none")
    val_split: Literal["documents", "tail"] = Field(description="whole documents, or the end of the concatenated text")
    seed: Seed = Field(description="chooses the validation and test documents; not used by tail")

    @model_validator(mode="after")
    def _some_text_trains(self) -> Self:
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError("val_fraction and test_fraction together must leave something for training")
        return self


def draw(text: bytes, seed: int) -> int:
    """The text's sort key in the shuffled order: 8 bytes of a hash, independent of any random generator's version."""
    return int.from_bytes(hashlib.sha256(f"{seed}\n".encode() + text).digest()[:8])


def split_points(
    sizes: npt.NDArray[np.int32], draws: npt.NDArray[np.uint64], config: TokenizeConfig
) -> npt.NDArray[np.int64]:
    """Two byte offsets per document, shape (documents, 2), that cut it into training, validation and test text.

    `documents` assigns whole texts, in the order of their draws, to validation until it holds `val_fraction` of the
    bytes, then to test. Identical texts have the same draw, so they land in the same split. `tail` cuts the
    concatenated text, as nanoGPT does. Raises UserError when a split would be empty, or when a large text, or many
    copies of one, leave training less than half of its share.
    """
    ends = np.cumsum(sizes, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    if config.val_split == "tail":
        shares = np.array([1 - config.val_fraction - config.test_fraction, 1 - config.test_fraction])
        boundaries = (total * shares).astype(np.int64)
        tail: npt.NDArray[np.int64] = np.clip(boundaries - (ends - sizes)[:, None], 0, sizes[:, None])
        return tail
    val = _first(sizes, draws, config.val_fraction * total)
    test = _first(sizes, np.where(val, np.uint64(2**64 - 1), draws), config.test_fraction * total) & ~val
    train_bytes, val_bytes, test_bytes = (
        int(sizes[side].sum(dtype=np.int64)) for side in (~(val | test), val & ~test, test)
    )
    share = 1 - config.val_fraction - config.test_fraction
    if train_bytes < share * total / 2 or not train_bytes or (config.test_fraction and not test.any()):
        raise UserError(
            f"tokenize.val_fraction={config.val_fraction} and test_fraction={config.test_fraction} would give training "
            f"{train_bytes:,} bytes, validation {val_bytes:,} and test {test_bytes:,}, for each of the corpus' "
            f"{len(sizes):,} document(s) stays whole{_copies(sizes, draws)}; set tokenize.val_split=tail to cut inside "
            "a document, or another fraction or seed"
        )
    return np.stack([np.where(val | test, 0, sizes), np.where(test, 0, sizes)], axis=1)


def _first(sizes: npt.NDArray[np.int32], draws: npt.NDArray[np.uint64], wanted: float) -> npt.NDArray[np.bool_]:
    """Select documents in the order of their draws until they hold `wanted` bytes; equal draws stay together."""
    order = np.argsort(draws, kind="stable")
    before = np.cumsum(sizes[order], dtype=np.int64) - sizes[order]
    taken = int(np.count_nonzero(before < wanted))
    return draws <= draws[order[taken - 1]] if taken else np.zeros(len(sizes), bool)


def _copies(sizes: npt.NDArray[np.int32], draws: npt.NDArray[np.uint64]) -> str:
    """What to know about the text that takes most bytes with its copies; empty if it has none."""
    _, first, counts = np.unique(draws, return_index=True, return_counts=True)
    most = int(np.argmax(counts * sizes[first])) if len(counts) else 0
    if not len(counts) or counts[most] == 1:
        return ""
    identical = f"{counts[most]:,} documents of {sizes[first[most]]:,} bytes are identical"
    return f"; {identical} and stay together: data.deduplicate=true keeps one of them"


def split_text(text: bytes, points: Sequence[int]) -> list[bytes]:
    """The training, validation and test part of a text; a cut inside a character moves to the character's start."""
    first, second = _character_start(text, points[0]), _character_start(text, points[1])
    return [text[:first], text[first:second], text[second:]]


def _character_start(text: bytes, at: int) -> int:
    while at < len(text) and text[at] & 0b1100_0000 == 0b1000_0000:
        at -= 1
    return at
