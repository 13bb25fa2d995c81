"""Text <-> token ids. Every tokenizer is one thing: a tiktoken Encoding built from one saved JSON file."""

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import numpy as np
import numpy.typing as npt
import tiktoken
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

from gptcore.errors import UserError
from gptcore.files import write_text

END_OF_TEXT: Final = "<|endoftext|>"
BYTES = tuple(bytes([value]) for value in range(256))
# tiktoken's form of GPT-2's own pattern: it splits alike, but without backtracking over long runs
GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
CHARACTER_PATTERN = r"(?s)."


@dataclass(frozen=True)
class Tokenizer:
    """Ids are ranks: `tokens[id]` is the token's bytes; <|endoftext|> has the id after the last.

    Within each piece that `pattern` matches, neighbours whose bytes together are a token are merged, lowest id first.
    """

    kind: Literal["bpe", "gpt2", "char", "byte"]
    pattern: str
    tokens: tuple[bytes, ...]

    @property
    def n_vocab(self) -> int:
        return len(self.tokens) + 1

    @property
    def eot_id(self) -> int:
        """The id of <|endoftext|>, which stands before each document."""
        return len(self.tokens)

    @cached_property
    def encoding(self) -> tiktoken.Encoding:
        ranks = {token: rank for rank, token in enumerate(self.tokens)}
        special = {END_OF_TEXT: self.eot_id}
        return tiktoken.Encoding(self.kind, pat_str=self.pattern, mergeable_ranks=ranks, special_tokens=special)

    def encode(self, text: str) -> npt.NDArray[np.uint32]:
        """The ids of `text`, shape (tokens,); <|endoftext|> in it is ordinary text.

        Raises UserError for a character that char does not know, and for a run of a million newlines.
        """
        if self.kind == "char" and (unknown := set(text) - self._characters):
            raise UserError(f"the vocabulary has no {min(unknown)!r}; char knows the corpus' characters alone")
        encoding = self.encoding
        try:
            return encoding.encode_to_numpy(text, disallowed_special=())
        except ValueError as error:  # tiktoken's pattern needs stack for white space
            raise UserError(f"tiktoken cannot split a text of {len(text):,} characters: {error}") from None

    def decode(self, ids: Sequence[int] | npt.NDArray[np.unsignedinteger]) -> str:
        """The text of `ids`; bytes that are no UTF-8 become U+FFFD."""
        return self.encoding.decode(list(ids), errors="replace")

    def save(self, path: Path) -> None:
        tokens = [base64.b64encode(token).decode() for token in self.tokens]
        saved = _Saved(format_version=1, kind=self.kind, pattern=self.pattern, special_token=END_OF_TEXT, tokens=tokens)
        write_text(path, saved.model_dump_json(indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises UserError if the file is missing or no tokenizer."""
        try:
            saved = _Saved.model_validate_json(path.read_bytes())
            return cls(saved.kind, saved.pattern, tuple(map(base64.b64decode, saved.tokens)))
        except FileNotFoundError:
            raise UserError(f"{path} is missing; the tokenize stage makes it: `dvc repro tokenize`") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise UserError(f"{path} is no tokenizer or damaged: {where + ': ' * bool(where)}{first['msg']}") from None

    @cached_property
    def _characters(self) -> frozenset[str]:
        return frozenset(token.decode() for token in self.tokens)


def byte_tokenizer() -> Tokenizer:
    """256 bytes."""
    return Tokenizer("byte", CHARACTER_PATTERN, BYTES)


def char_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """The characters of `texts` in code point order, as nanoGPT's character-level data sets."""
    characters: set[str] = set().union(*texts)
    return Tokenizer("char", CHARACTER_PATTERN, tuple(character.encode() for character in sorted(characters)))


def gpt2_tokenizer(path: Path) -> Tokenizer:
    """GPT-2's 50,256 tokens from a file of lines `base64 rank`. Raises UserError."""
    try:
        ranks = dict(line.split() for line in path.read_bytes().splitlines())
    except FileNotFoundError:
        raise UserError(f"{path} is missing; the download stage fetches it: `dvc repro download`") from None
    tokens = sorted(ranks, key=lambda token: int(ranks[token]))
    return Tokenizer("gpt2", GPT2_PATTERN, tuple(map(base64.b64decode, tokens)))


def train_bpe(texts: Iterator[str], vocab_size: int) -> Tokenizer:
    """Byte-level BPE (Sennrich et al. 2016, bytes as in GPT-2) with `vocab_size` ids, <|endoftext|> included.

    Raises UserError if the texts have too few repeated pairs for so many.
    """
    from tokenizers import Tokenizer as Trained
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.trainers import BpeTrainer

    trained = Trained(BPE())
    trained.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=True)
    alphabet = ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=vocab_size - 1, min_frequency=2, initial_alphabet=alphabet, show_progress=False)
    trained.train_from_iterator(texts, trainer)
    ids = trained.get_vocab()
    if len(ids) < vocab_size - 1:
        raise UserError(f"the training text yields {len(ids) + 1:,} tokens only; set tokenize.vocab_size so or lower")
    byte_of = {character: byte for byte, character in character_of_byte().items()}
    merged = [token for token in sorted(ids, key=lambda token: ids[token]) if len(token) > 1]
    return Tokenizer("bpe", GPT2_PATTERN, BYTES + tuple(bytes(byte_of[c] for c in token) for token in merged))


def character_of_byte() -> dict[int, str]:
    """GPT-2's bytes_to_unicode: printable bytes are written as themselves, the others from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [value for value in range(256) if value not in printable]
    return {value: chr(value) for value in printable} | {value: chr(256 + i) for i, value in enumerate(others)}


def _is_base64(token: str) -> str:
    base64.b64decode(token, validate=True)
    return token


class _Saved(BaseModel):
    """tokenizer.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1]
    kind: Literal["bpe", "gpt2", "char", "byte"]
    pattern: str
    special_token: Literal["<|endoftext|>"]
    tokens: list[Annotated[str, AfterValidator(_is_base64)]]

    @model_validator(mode="after")
    def _can_encode(self) -> Self:
        known = set(self.tokens)
        if len(known) < len(self.tokens):
            raise ValueError("a token is there twice")
        if self.kind != "char" and not known.issuperset(base64.b64encode(byte).decode() for byte in BYTES):
            raise ValueError("not every byte is a token")
        return self
