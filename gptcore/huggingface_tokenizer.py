"""A tokenizer in Hugging Face's form, so that transformers.AutoTokenizer reads an exported model's ids."""

from itertools import pairwise
from pathlib import Path
from typing import Any

from gptcore.files import write_json
from gptcore.tokenizer import END_OF_TEXT, Tokenizer, character_of_byte


def write_hugging_face_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """tokenizer.json and tokenizer_config.json. Unlike here, <|endoftext|> in a text is then the special token."""
    from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
    from tokenizers import Tokenizer as Theirs

    if tokenizer.kind == "char":
        theirs = Theirs(models.WordLevel({token.decode(): rank for rank, token in enumerate(tokenizer.tokens)}))
        theirs.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        theirs.decoder = decoders.Fuse()
    else:
        characters = character_of_byte()
        names = ["".join(characters[byte] for byte in token) for token in tokenizer.tokens]
        ranks = {token: rank for rank, token in enumerate(tokenizer.tokens)}
        pairs = [halves(token, ranks) for token in tokenizer.tokens if len(token) > 1]
        merges = [(names[ranks[first]], names[ranks[second]]) for first, second in pairs]
        theirs = Theirs(models.BPE({name: rank for rank, name in enumerate(names)}, merges))
        use_regex = tokenizer.kind != "byte"
        theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)
        theirs.decoder = decoders.ByteLevel()
    theirs.add_special_tokens([AddedToken(END_OF_TEXT, special=True)])
    theirs.save(str(folder / "tokenizer.json"))
    special: dict[str, Any] = {f"{name}_token": END_OF_TEXT for name in ("bos", "eos", "unk")}
    # clean-up of spaces would make decoding lossy
    plain = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    write_json(folder / "tokenizer_config.json", {**plain, **special})


def halves(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The last merge that makes `token`: byte-pair encoding with the tokens before it leaves two pieces."""
    pieces = [bytes([byte]) for byte in token]
    while len(pieces) > 2:
        joined = [ranks.get(first + second, len(ranks)) for first, second in pairwise(pieces)]
        at = joined.index(min(joined))
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
    return pieces[0], pieces[1]
