"""Text <-> token ids. One class covers every kind of tokenizer; one JSON file describes a tokenizer completely."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

import numpy as np
import numpy.typing as npt
import tiktoken
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

from gptcore.corpus.chat_template import TEMPLATE, rendered, text_of
from gptcore.errors import UserError
from gptcore.files import sha256_file, write_text
from gptcore.tokens.libraries import HuggingFace, Library, SentencePiece
from gptcore.tokens.long_runs import encode_around_runs
from gptcore.tokens.token_bytes import TokenBytes

if TYPE_CHECKING:
    from gptcore.tokens.fast_encoder import FastEncoder

Kind = Literal["bpe", "gpt2", "cl100k_base", "o200k_base", "char", "byte", "sentencepiece", "huggingface"]
END_OF_TEXT: Final = "<|endoftext|>"
BYTES = tuple(bytes([value]) for value in range(256))
CHARACTER_PATTERN = r"(?s)."
# tiktoken's version of GPT-2's pattern: it splits identically, but without backtracking over long runs
GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
# OpenAI's split patterns; the first two lines of o200k match words that end in lowercase letters and in capitals
PATTERNS: Final = {
    "gpt2": GPT2_PATTERN,
    "cl100k_base": (
        r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"""
        r"""| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"""
    ),
    "o200k_base": (
        r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
        r"""|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
        r"""|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
    ),
}
TiktokenKind = Literal["gpt2", "cl100k_base", "o200k_base"]


@dataclass(frozen=True)
class Tokenizer:
    """Ids are ranks: `tokens[id]` is the token's bytes; <|endoftext|> has the id after the last, or is no token.

    Within each match of `pattern`, adjacent pieces whose joined bytes are a token are merged, lowest id first.
    sentencepiece and huggingface use `model` instead: the content of that library's file, including its settings. The
    `end_of_text` of huggingface is a token of the model under any name. `chat_template` makes ids of a conversation,
    for models that have learned such; without it the tokenizer is the same.
    """

    kind: Kind
    pattern: str
    tokens: tuple[bytes, ...]
    model: bytes = b""
    end_of_text: str | None = END_OF_TEXT
    chat_template: str = field(default="", compare=False)

    @property
    def n_vocab(self) -> int:
        return self.library.n_vocab if self.library else len(self.tokens) + (self.end_of_text is not None)

    @property
    def stop_id(self) -> int:
        """Of the token that ends a text; -1, which is no id, where the vocabulary has none."""
        if self.library:
            return -1 if self.library.eot_id is None else self.library.eot_id
        return -1 if self.end_of_text is None else len(self.tokens)

    @property
    def eot_id(self) -> int:
        """The id of <|endoftext|>, which precedes each document. Raises UserError if the vocabulary has none."""
        if self.stop_id < 0:
            raise UserError(f"the vocabulary has no {END_OF_TEXT} for a text to begin with; give it a text to continue")
        return self.stop_id

    @cached_property
    def encoding(self) -> tiktoken.Encoding:
        """The tiktoken encoding; not available for sentencepiece and huggingface."""
        ranks = {token: rank for rank, token in enumerate(self.tokens)}
        special = {END_OF_TEXT: self.eot_id} if self.end_of_text else {}
        return tiktoken.Encoding(self.kind, pat_str=self.pattern, mergeable_ranks=ranks, special_tokens=special)

    def encode(self, text: str) -> npt.NDArray[np.uint32]:
        """The ids of `text`, shape (tokens,); <|endoftext|> in it is ordinary text.

        Raises UserError for a character outside the vocabulary of char.
        """
        if self.library:
            return np.array(self.library.encode(text), np.uint32)
        if self.kind == "byte":
            return np.frombuffer(text.encode(), np.uint8).astype(np.uint32)
        if self.kind == "char" and (unknown := set(text) - self._characters):
            raise UserError(f"the vocabulary has no {min(unknown)!r}; char knows the corpus' characters alone")
        try:
            return self.encoding.encode_to_numpy(text, disallowed_special=())
        except ValueError:  # a long run of white space exhausts the stack of tiktoken's pattern
            return encode_around_runs(self.encoding, text, ends_at_newlines=self.pattern != GPT2_PATTERN)

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """The ids after which the response to a conversation comes. Raises UserError, also if there is no template."""
        if not self.chat_template:
            raise UserError("the model has no chat template: it has not learned to answer")
        if self.has_other_template:
            whole: list[int] = self.encode(text_of(self.chat_template, messages, for_response=True)).tolist()
            return whole
        pieces = rendered(self.chat_template, messages, for_response=True)
        ids: list[int] = self.encode(pieces[0]).tolist()
        for piece in pieces[1:]:
            ids += [self.eot_id, *self.encode(piece).tolist()]
        return ids

    @property
    def has_other_template(self) -> bool:
        """Whether the chat template is one of others, which writes special tokens by their names."""
        return self.chat_template not in ("", TEMPLATE)

    def encode_documents(self, texts: Sequence[bytes]) -> npt.NDArray[np.uint32]:
        """The concatenated ids of texts in UTF-8, with <|endoftext|> before each: those of `encode`, many times faster.

        Raises UserError like `encode`.
        """
        fast = self._fast_encoder
        if fast:
            fast.bound_memory()
        eot, parts = np.array([self.eot_id], np.uint32), []
        for text in texts:
            parts += [eot, fast.encode(text) if fast and fast.fits(text) else self.encode(text.decode())]
        return np.concatenate(parts or [eot[:0]])

    def decode(self, ids: Sequence[int] | npt.NDArray[np.unsignedinteger]) -> str:
        """The text of `ids`; invalid UTF-8 bytes become U+FFFD."""
        if self.library:
            return self.library.decode(ids)
        return self.encoding.decode(list(ids), errors="replace")

    def gives(self, ids: npt.NDArray[np.unsignedinteger], text: bytes) -> bool:
        """Whether `ids` decode to `text` in UTF-8, with <|endoftext|> by name; many times faster than `decode`."""
        if self.library:
            return self.decode(ids).encode() == text
        return self._token_bytes.give(ids, text)

    def save(self, path: Path) -> None:
        write_text(path, self.to_json())

    def to_json(self) -> str:
        saved = _Saved(
            format_version=1, kind=self.kind, pattern=self.pattern, special_token=self.end_of_text,
            tokens=[base64.b64encode(token).decode() for token in self.tokens],
            model=base64.b64encode(self.model).decode(), chat_template=self.chat_template,
        )  # fmt: skip
        return saved.model_dump_json(indent=1, exclude_defaults=True) + "\n"  # omits what is empty

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises UserError if the file is missing or not a valid tokenizer."""
        try:
            saved = _Saved.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise UserError(f"{path} is missing; the tokenize stage makes it: `dvc repro tokenize`") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise UserError(f"{path} is no tokenizer or damaged: {where + ': ' * bool(where)}{first['msg']}") from None
        tokens = tuple(map(base64.b64decode, saved.tokens))
        model = base64.b64decode(saved.model)
        return cls(saved.kind, saved.pattern, tokens, model, saved.special_token, saved.chat_template)

    @cached_property
    def _characters(self) -> frozenset[str]:
        return frozenset(token.decode() for token in self.tokens)

    @cached_property
    def _fast_encoder(self) -> "FastEncoder | None":
        if self.pattern not in PATTERNS.values():
            return None
        from gptcore.tokens.fast_encoder import FastEncoder  # a model that is served encodes only prompts, without it

        return FastEncoder.of(self.tokens, self.pattern)

    @cached_property
    def _token_bytes(self) -> TokenBytes:
        """<|endoftext|> comes last."""
        return TokenBytes([*self.tokens, END_OF_TEXT.encode()])

    @property
    def unsayable_ids(self) -> list[int]:
        """Ids that stand for no text, which a model must not draw."""
        return self.library.unsayable_ids if self.library else []

    @cached_property
    def library(self) -> Library | None:
        """The other library's tokenizer, for sentencepiece and huggingface."""
        if not self.model:
            return None
        library = HuggingFace if self.kind == "huggingface" else SentencePiece
        return library(self.model, self.end_of_text)


def require_tokenizer(tokens: Path, model: Path) -> None:
    """Raises UserError unless tokens and model have the same tokenizer.json: a model reads only its own tokenizer's."""
    if sha256_file(tokens / "tokenizer.json") != sha256_file(model / "tokenizer.json"):
        raise UserError(
            f"{tokens} was made with another tokenizer than {model} learned, so the model cannot read it; "
            "train it anew, or set tokenize.tokenizer to the model's"
        )


def character_of_byte() -> dict[int, str]:
    """GPT-2's bytes_to_unicode: printable bytes map to themselves, the others to U+0100 and up."""
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
    kind: Kind
    pattern: str
    special_token: str | None
    tokens: list[Annotated[str, AfterValidator(_is_base64)]]
    model: Annotated[str, AfterValidator(_is_base64)] = ""
    chat_template: str = ""

    @model_validator(mode="after")
    def _can_encode(self) -> Self:
        known = set(self.tokens)
        if len(known) < len(self.tokens):
            raise ValueError("a token is there twice")
        libraries = ("sentencepiece", "huggingface")
        if (self.kind in libraries) != bool(self.model):
            raise ValueError("a model is there if, and only if, the kind is sentencepiece or huggingface")
        if self.kind != "huggingface" and self.special_token not in (END_OF_TEXT, None):
            raise ValueError(f"the special token is {self.special_token!r}, not {END_OF_TEXT}")
        if self.kind not in ("char", *libraries) and not known.issuperset(
            base64.b64encode(byte).decode() for byte in BYTES
        ):
            raise ValueError("not every byte is a token")
        return self
