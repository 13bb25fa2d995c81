"""Read the tokenizer of a Hugging Face folder, so that its ids are those of transformers.AutoTokenizer.

The library `tokenizers` runs it, from the tokenizer.json that is kept inside our own. The other files of the folder
add tokens to it. What AutoTokenizer does by settings that tokenizer.json cannot hold, or where its versions disagree,
is refused by name.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptcore.corpus.chat_template import TEMPLATE, text_of
from gptcore.errors import UserError
from gptcore.files import read_json
from gptcore.tokens.huggingface_tokenizer import CHAT_TEMPLATE
from gptcore.tokens.tokenizer import END_OF_TEXT, Tokenizer

if TYPE_CHECKING:
    from tokenizers import AddedToken
    from tokenizers import Tokenizer as Theirs

GPT2_CLASSES = ("GPT2Tokenizer", "GPT2TokenizerFast")  # also what transformers takes where none is named
CLASSES = (*GPT2_CLASSES, "PreTrainedTokenizerFast", "TokenizersBackend")
SETTINGS = ("auto_map", "fast_tokenizer_files", "split_special_tokens", "add_bos_token", "add_eos_token")
NAMED = tuple(f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))  # in transformers' order
OTHERS = ("vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "tiktoken.model", "tekken.json")
FILES = (  # that `read_hugging_face_tokenizer` looks at
    "tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", CHAT_TEMPLATE, *OTHERS,
)  # fmt: skip
# What transformers makes of GPT2Tokenizer whatever tokenizer.json says: this split, and a model without these.
GPT2_SPLIT = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
OFF = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges")
TRIAL = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]  # that every chat template takes


def read_hugging_face_tokenizer(folder: Path) -> Tokenizer | None:
    """None if the folder has no tokenizer at all. Raises UserError that names what cannot be read."""
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json", "merges.txt")):
        for other in OTHERS:
            if (folder / other).is_file():
                raise _refusal(folder / other, "only tokenizer.json, or vocab.json with merges.txt, is read")
        return None
    config = _json(folder / "tokenizer_config.json")
    for name in SETTINGS:
        if config.get(name):
            raise _refusal(folder / "tokenizer_config.json", f"{name} cannot be expressed")
    found = config.get("tokenizer_class") or _json(folder / "config.json").get("tokenizer_class") or GPT2_CLASSES[0]
    if found not in CLASSES:
        raise _refusal(folder, f"its tokenizer_class is {found}; only {', '.join(CLASSES)} are read")
    try:
        return _read(folder, config, gpt2=found in GPT2_CLASSES)
    except UserError:
        raise
    except Exception as error:  # tokenizers knows no narrower class; the values of the files are anyone's
        raise _refusal(folder, f"its files do not make one: {str(error) or type(error).__name__}") from None


def _chat_template(folder: Path, config: dict[str, Any], special: "dict[str, AddedToken]") -> str:
    """The folder's, with its special tokens written into it, as nothing else names them here. Raises UserError."""
    path = folder / CHAT_TEMPLATE
    found = path.read_text(encoding="utf-8") if path.is_file() else config.get("chat_template") or ""
    if isinstance(found, list):  # several by name
        found = next((each["template"] for each in found if each["name"] == "default"), "")
    if found in ("", TEMPLATE):
        return str(found)
    named = {
        f"{{%- set {role} = ": json.dumps(str(token), ensure_ascii=False)
        for role, token in special.items()
        if role in NAMED
    }
    template = "".join(f"{begin}{token} +%}}" for begin, token in named.items() if begin not in found) + found
    try:
        for messages, for_response in ((TRIAL[:1], True), (TRIAL, False)):
            text_of(template, messages, for_response)
    except UserError as error:
        raise _refusal(path if path.is_file() else folder / "tokenizer_config.json", str(error)) from None
    return template


def _read(folder: Path, config: dict[str, Any], gpt2: bool) -> Tokenizer:
    whole = folder / "tokenizer.json"
    theirs = _from_json(whole, config, gpt2) if whole.is_file() else _from_vocabulary(folder, config)
    theirs.no_truncation()
    theirs.no_padding()
    special = _special_tokens(folder, config, theirs, gpt2)
    _add(theirs, folder, config, [*special.values()])
    if always := theirs.encode("").ids:
        raise _refusal(folder, f"it puts {theirs.decode(always, skip_special_tokens=False)} at every text")
    end = str(special.get("eos_token", END_OF_TEXT))
    known = theirs.token_to_id(end) is not None
    template = _chat_template(folder, config, special)
    return Tokenizer("huggingface", "", (), theirs.to_str().encode(), end if known else None, template)


def _from_json(path: Path, config: dict[str, Any], gpt2: bool) -> "Theirs":
    from tokenizers import Tokenizer as Theirs
    from tokenizers.pre_tokenizers import ByteLevel

    values = _json(path)
    model = values["model"]
    if gpt2:
        split = values.get("pre_tokenizer") or {}
        for part, same in {
            "normalizer": not values.get("normalizer"),
            "pre_tokenizer": {name: split.get(name, each) for name, each in GPT2_SPLIT.items()} == GPT2_SPLIT,
            "model": model.get("type", "BPE") == "BPE" and not any(model.get(name) for name in OFF),
            "unk_token": not model.get("unk_token") or model["vocab"].keys() >= {*ByteLevel.alphabet()},
            "add_prefix_space": not config.get("add_prefix_space"),
        }.items():
            if not same:
                remedy = "set tokenizer_class in tokenizer_config.json to PreTrainedTokenizerFast if the file is right"
                raise _refusal(path, f"its {part} is not that of GPT2Tokenizer, its class; {remedy}")
    if model.get("dropout"):
        raise _refusal(path, "its dropout makes ids a matter of chance")
    theirs = Theirs.from_file(str(path))
    for token in values.get("added_tokens", []):
        if theirs.token_to_id(token["content"]) != token["id"]:
            raise _refusal(path, f"the added token {token['content']!r} cannot have the id {token['id']:,}")
    return theirs


def _from_vocabulary(folder: Path, config: dict[str, Any]) -> "Theirs":
    from tokenizers import Tokenizer as Theirs
    from tokenizers import decoders, models, pre_tokenizers

    vocab, merges = folder / "vocab.json", folder / "merges.txt"
    for each in (vocab, merges):
        if not each.is_file():
            raise _refusal(each, "it is missing; vocab.json and merges.txt belong together")
    theirs = Theirs(models.BPE.from_file(str(vocab), str(merges)))
    prefix = bool(config.get("add_prefix_space"))
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=True)
    theirs.decoder = decoders.ByteLevel()
    return theirs


def _special_tokens(folder: Path, config: dict[str, Any], theirs: "Theirs", gpt2: bool) -> dict[str, "AddedToken"]:
    """By their roles, in the order in which transformers adds them."""
    given = config if "added_tokens_decoder" in config else config | _json(folder / "special_tokens_map.json")
    more = given.get("extra_special_tokens") or given.get("additional_special_tokens") or []
    extra = more if isinstance(more, dict) else {f"extra {i}": each for i, each in enumerate(more)}
    if gpt2 and theirs.token_to_id(END_OF_TEXT) is not None:
        given = dict.fromkeys(NAMED[:3], END_OF_TEXT) | given
    return {name: _token(each) for name, each in ({name: given.get(name) for name in NAMED} | extra).items() if each}


def _add(theirs: "Theirs", folder: Path, config: dict[str, Any], special: list["AddedToken"]) -> None:
    """Add what is not there yet. Raises UserError for a token that cannot have the id that the folder says."""
    if "added_tokens_decoder" in config:
        source = folder / "tokenizer_config.json"
        added = {int(number): _token(each) for number, each in config["added_tokens_decoder"].items()}
    else:
        source, names = folder / "added_tokens.json", {str(each) for each in special}
        added = {
            int(number): _token({"content": each, "special": each in names, "normalized": each not in names})
            for each, number in _json(source).items()
        }
    present = {str(each): each for each in theirs.get_added_tokens_decoder().values()}
    for number, token in sorted(added.items()):
        before = present.get(str(token))
        if before and any(
            getattr(before, name) != getattr(token, name) for name in ("lstrip", "rstrip", "single_word")
        ):
            raise _refusal(source, f"it says of the token {str(token)!r} something else than tokenizer.json")
        if not before:
            theirs.add_tokens([token])
        if theirs.token_to_id(str(token)) != number:
            raise _refusal(source, f"the added token {str(token)!r} cannot have the id {number:,}")
    known = {str(each) for each in theirs.get_added_tokens_decoder().values()}
    theirs.add_special_tokens([each for each in special if str(each) not in known])


def _token(value: Any) -> "AddedToken":
    from tokenizers import AddedToken

    if isinstance(value, str):
        return AddedToken(value, special=True)
    fields = ("lstrip", "rstrip", "single_word", "normalized", "special")
    return AddedToken(value["content"], **{name: value[name] for name in fields if name in value})


def _json(path: Path) -> dict[str, Any]:
    """Its object; empty if there is no such file. Raises UserError."""
    if not path.is_file():
        return {}
    try:
        values = read_json(path)
    except ValueError as error:
        raise _refusal(path, f"it is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise _refusal(path, f"it holds a {type(values).__name__}, not an object")
    return values


def _refusal(path: Path, why: str) -> UserError:
    return UserError(f"{path}: this tokenizer cannot be read: {why}. Give the model's tokenizer with --tokenizer")
