"""Make a tokenizer of each kind: built in, read from a vocabulary file, or trained on the corpus."""

import base64
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from gptcore.config.paths import NONE
from gptcore.errors import UserError
from gptcore.tokens.tokenizer import (
    BYTES,
    CHARACTER_PATTERN,
    GPT2_PATTERN,
    PATTERNS,
    TiktokenKind,
    Tokenizer,
    character_of_byte,
)

# The trainer's time grows with the square of a word's length, and its memory with the text of all distinct words: it
# takes about 80 bytes for each byte of them.
WORD_BYTES = 1 << 10
DISTINCT_CHARACTERS = 1 << 21
WORD = re.compile(r"\s*\S+|\s+")


def byte_tokenizer() -> Tokenizer:
    """One token per byte value, 256 in all."""
    return Tokenizer("byte", CHARACTER_PATTERN, BYTES)


def char_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """One token per character of `texts`, in code point order, as in nanoGPT's character-level data sets."""
    characters: set[str] = set().union(*texts)
    return Tokenizer("char", CHARACTER_PATTERN, tuple(character.encode() for character in sorted(characters)))


def tiktoken_tokenizer(kind: TiktokenKind, path: Path) -> Tokenizer:
    """OpenAI's tokens, read from a file with lines `base64 rank`. Raises UserError."""
    try:
        ranks = dict(line.split() for line in path.read_bytes().splitlines())
    except FileNotFoundError:
        raise UserError(f"{path} is missing; the download stage fetches it: `dvc repro download`") from None
    tokens = sorted(ranks, key=lambda token: int(ranks[token]))
    return Tokenizer(kind, PATTERNS[kind], tuple(map(base64.b64decode, tokens)))


def sentencepiece_tokenizer(path: Path) -> Tokenizer:
    """A model trained by the library sentencepiece, plus one id for <|endoftext|>. Raises UserError."""
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError:
        raise UserError("sentencepiece is not installed; `pip install 'gptcore[sentencepiece]'` does it") from None
    try:
        content = path.read_bytes()
        SentencePieceProcessor(model_proto=content)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; the download stage fetches it: `dvc repro download`") from None
    except RuntimeError:
        raise UserError(f"{path} is no sentencepiece model; name the .model file that its trainer wrote") from None
    return Tokenizer("sentencepiece", "", (), content)


def start_tokenizer(model: Path) -> Tokenizer:
    """The tokenizer of the model that a training goes on from. Raises UserError."""
    if (model / NONE).exists():
        raise UserError("tokenize.tokenizer is start, and there is none: set train.start, such as gpt@champion")
    tokenizer = Tokenizer.load(model / "tokenizer.json")
    if tokenizer.stop_id < 0:
        raise UserError("the start has no <|endoftext|>, which precedes each document here; take another start")
    return tokenizer


def train_bpe(texts: Iterator[str], vocab_size: int) -> Tokenizer:
    """Byte-level BPE (Sennrich et al. 2016, bytes as in GPT-2) with `vocab_size` ids, <|endoftext|> included.

    It learns from a word longer than WORD_BYTES in parts of that size; encoding does not cut words. Raises UserError if
    the texts have too few repeated pairs for that vocabulary size.
    """
    from tokenizers import Tokenizer as Trained
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel, FixedLength, Sequence
    from tokenizers.trainers import BpeTrainer

    trained = Trained(BPE())
    words = ByteLevel(add_prefix_space=False, use_regex=True)  # a character of its result stands for a byte
    trained.pre_tokenizer = Sequence([words, FixedLength(WORD_BYTES)])
    alphabet = ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=vocab_size - 1, min_frequency=2, initial_alphabet=alphabet, show_progress=False)
    trained.train_from_iterator(of_known_words(texts, DISTINCT_CHARACTERS), trainer)
    ids = trained.get_vocab()
    if len(ids) < vocab_size - 1:
        raise UserError(f"the training text yields {len(ids) + 1:,} tokens only; set tokenize.vocab_size so or lower")
    byte_of = {character: byte for byte, character in character_of_byte().items()}
    merged = [token for token in sorted(ids, key=lambda token: ids[token]) if len(token) > 1]
    return Tokenizer("bpe", GPT2_PATTERN, BYTES + tuple(bytes(byte_of[c] for c in token) for token in merged))


def of_known_words(texts: Iterable[str], distinct_characters: int) -> Iterator[str]:
    """The texts; once they have had `distinct_characters` of distinct words, without words that are new.

    A new word is rare by then, and a vocabulary learns from frequent ones.
    """
    known: set[str] = set()
    for text in texts:
        words = WORD.findall(text)
        for word in dict.fromkeys(words):  # in their order, so that it is the same in every process
            if distinct_characters > 0 and word not in known:
                known.add(word)
                distinct_characters -= len(word)
        yield text if distinct_characters > 0 else "".join(word for word in words if word in known)
