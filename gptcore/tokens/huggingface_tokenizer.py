"""Export a tokenizer in Hugging Face's format, so that transformers.AutoTokenizer can load it with the model."""

import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from gptcore.files import write_json, write_text
from gptcore.tokens.tokenizer import GPT2_PATTERN, Tokenizer, character_of_byte

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Theirs

CHAT_TEMPLATE = "chat_template.jinja"


def write_hugging_face_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Write tokenizer.json, tokenizer_config.json, and chat_template.jinja if there is a template.

    Unlike here, they read <|endoftext|> as the special token.

    Of sentencepiece it writes the file tokenizer.model alone, which that library's users convert themselves.
    """
    if tokenizer.kind == "sentencepiece":
        (folder / "tokenizer.model").write_bytes(tokenizer.model)
        return
    if tokenizer.kind == "huggingface":
        (folder / "tokenizer.json").write_bytes(tokenizer.model)
    else:
        _converted(tokenizer).save(str(folder / "tokenizer.json"))
    roles = ("bos", "eos") if tokenizer.kind == "huggingface" else ("bos", "eos", "unk")
    special = {f"{role}_token": tokenizer.end_of_text for role in roles if tokenizer.end_of_text}
    # clean-up of spaces would make decoding lossy
    plain = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    write_json(folder / "tokenizer_config.json", {**plain, **special})
    if tokenizer.chat_template:
        write_text(folder / CHAT_TEMPLATE, tokenizer.chat_template)


def _converted(tokenizer: Tokenizer) -> "Theirs":
    from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
    from tokenizers import Tokenizer as Theirs

    if tokenizer.kind == "char":
        theirs = Theirs(models.WordLevel({token.decode(): rank for rank, token in enumerate(tokenizer.tokens)}))
        theirs.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        theirs.decoder = decoders.Fuse()
    else:
        names, merges = byte_level(tokenizer)
        theirs = Theirs(models.BPE({name: rank for rank, name in enumerate(names)}, merges))
        theirs.pre_tokenizer = pre_tokenizers.ByteLevel(
            add_prefix_space=False, use_regex=tokenizer.pattern == GPT2_PATTERN
        )
        if tokenizer.kind in ("cl100k_base", "o200k_base"):
            split = pre_tokenizers.Split(Regex(_plain(tokenizer.pattern)), "isolated")
            theirs.pre_tokenizer = pre_tokenizers.Sequence([split, theirs.pre_tokenizer])
        theirs.decoder = decoders.ByteLevel()
    if tokenizer.end_of_text:
        theirs.add_special_tokens([AddedToken(tokenizer.end_of_text, special=True)])
    return theirs


def byte_level(tokenizer: Tokenizer) -> tuple[list[str], list[tuple[str, str]]]:
    """The tokens and their merges, first ones first, in GPT-2's writing: a character for each byte."""
    characters = character_of_byte()
    names = ["".join(characters[byte] for byte in token) for token in tokenizer.tokens]
    ranks = {token: rank for rank, token in enumerate(tokenizer.tokens)}
    pairs = [halves(token, ranks) for token in tokenizer.tokens if len(token) > 1]
    return names, [(names[ranks[first]], names[ranks[second]]) for first, second in pairs]


def _plain(pattern: str) -> str:
    """An equivalent pattern without possessive quantifiers such as `++`, which mean something else there."""
    return re.sub(r"([+*?]|\{\d,\d\})\+", r"\1", pattern)


def halves(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The last merge that makes `token`: byte-pair encoding with the tokens before it leaves two pieces."""
    pieces = [bytes([byte]) for byte in token]
    while len(pieces) > 2:
        joined = [ranks.get(first + second, len(ranks)) for first, second in pairwise(pieces)]
        at = joined.index(min(joined))
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
    return pieces[0], pieces[1]
