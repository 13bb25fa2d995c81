"""Tokenizers that other libraries trained and run: sentencepiece's model files, and Hugging Face's tokenizer.json."""

import re
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gptcore.errors import UserError

BYTE = re.compile("<0x[0-9A-F]{2}>")


class Library(Protocol):
    """`eot_id` is None where the vocabulary has no end of text."""

    n_vocab: int
    eot_id: int | None
    unsayable_ids: list[int]  # those that stand for no text: gaps in the numbers, control ids, the unknown

    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int] | npt.NDArray[np.unsignedinteger]) -> str: ...
    def is_byte(self, token: int) -> bool: ...  # one of those for bytes without another token


class SentencePiece:
    """The end of text has an id after the model's own."""

    def __init__(self, model: bytes, end_of_text: str | None) -> None:
        from sentencepiece import SentencePieceProcessor

        self.sentences, self.end_of_text = SentencePieceProcessor(model_proto=model), end_of_text
        size = self.sentences.vocab_size()
        self.eot_id = None if end_of_text is None else size
        self.n_vocab = size + (end_of_text is not None)
        of = self.sentences
        self.unsayable_ids = [
            each for each in range(size) if of.IsControl(each) or of.IsUnused(each) or of.IsUnknown(each)
        ]

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.sentences.EncodeAsIds(text)
        return ids

    def decode(self, ids: Sequence[int] | npt.NDArray[np.unsignedinteger]) -> str:
        texts: list[list[int]] = [[]]
        for each in ids:
            texts.append([]) if each == self.eot_id else texts[-1].append(int(each))
        return (self.end_of_text or "").join(self.sentences.DecodeIds(text) for text in texts)

    def is_byte(self, token: int) -> bool:
        return token != self.eot_id and bool(self.sentences.IsByte(token))


class HuggingFace:
    """Added and special tokens keep their ids, and are found in a text by their names, as transformers does."""

    def __init__(self, model: bytes, end_of_text: str | None) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_str(model.decode())
        self.n_vocab = max(self.tokenizer.get_vocab().values()) + 1
        self.eot_id: int | None = None if end_of_text is None else self.tokenizer.token_to_id(end_of_text)
        self.names = {token: name for name, token in self.tokenizer.get_vocab().items()}
        self.unsayable_ids = [each for each in range(self.n_vocab) if each not in self.names]

    def encode(self, text: str) -> list[int]:
        """Raises UserError for a text that the vocabulary has no token for."""
        try:
            ids: list[int] = self.tokenizer.encode(text).ids
        except Exception as error:  # the library knows no narrower class
            raise UserError(f"the tokenizer cannot encode this text: {error}") from None
        return ids

    def decode(self, ids: Sequence[int] | npt.NDArray[np.unsignedinteger]) -> str:
        text: str = self.tokenizer.decode([int(each) for each in ids], skip_special_tokens=False)
        return text

    def is_byte(self, token: int) -> bool:
        return bool(BYTE.fullmatch(self.names.get(token, "")))
