"""The tokenizer of a Hugging Face folder gives AutoTokenizer's ids, or is refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors, trainers

from gptcore.errors import UserError
from gptcore.tokens.read_huggingface import read_hugging_face_tokenizer
from gptcore.tokens.tokenizer import Tokenizer
from tests.support.corpora import prose

TEXT = prose(0, 20_000)
ADDED = [
    AddedToken("<|user|>", special=True),
    AddedToken("<think>", lstrip=True, rstrip=True),
    AddedToken("sun", single_word=True),
]


def trained(first: list[str], size: int = 400) -> tokenizers.Tokenizer:
    """Byte-level BPE as tokenizers trains it; `first` are special tokens with the ids from 0 on."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        [TEXT],
        trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, special_tokens=first, show_progress=False),
    )
    return made


def vocabulary(folder: Path, **more: Any) -> None:
    """vocab.json and merges.txt, as in 2019; `more` are other files by their names' beginnings."""
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    made = trained([])
    made.model.save(str(folder))
    ids = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps({**ids, "<|endoftext|>": len(ids)}))
    for name, content in more.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def old(folder: Path) -> None:
    vocabulary(folder)


def old_with_added(folder: Path) -> None:
    vocabulary(
        folder,
        added_tokens={"<|user|>": 401, "plain": 402},
        special_tokens_map={
            "eos_token": "<|endoftext|>",
            "pad_token": "[PAD]",
            "additional_special_tokens": ["<|user|>"],
        },
        tokenizer_config={"add_prefix_space": True},
    )


def saved(folder: Path) -> None:
    import transformers  # takes 2 s in each test process, which collects all tests and runs some

    vocabulary(folder)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    theirs.add_special_tokens({"pad_token": "[PAD]"})
    theirs.add_tokens(ADDED)
    for each in folder.iterdir():
        if each.name != "config.json":
            each.unlink()
    theirs.save_pretrained(folder)


def special_first(folder: Path) -> None:
    folder.mkdir()
    made = trained(["<s>", "<pad>", "</s>", "<unk>", "<|endoftext|>"])
    made.enable_truncation(4)
    made.enable_padding(pad_id=1, pad_token="<pad>", length=9)
    made.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "GPT2TokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def other_pipeline(folder: Path) -> None:
    folder.mkdir()
    made = trained(["</s>"])
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), made.pre_tokenizer])
    made.add_tokens(ADDED)
    made.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": {"__type": "AddedToken", "content": "</s>"}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


FOLDERS: list[Callable[[Path], None]] = [old, old_with_added, saved, special_first, other_pipeline]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Tokenizer, Any]]:
    """Ours, saved and loaded again, and theirs."""
    import transformers

    found = []
    for make in FOLDERS:
        folder = tmp_path_factory.mktemp("tokenizers") / make.__name__
        make(folder)
        (folder / "config.json").write_text('{"model_type": "gpt2"}')
        ours = read_hugging_face_tokenizer(folder)
        assert ours
        ours.save(folder / "ours.json")
        found.append((Tokenizer.load(folder / "ours.json"), transformers.AutoTokenizer.from_pretrained(folder)))
    return found


awkward = ["sun", "Sun's", "sunny", "we'LL", " ", "   ", "\n", "\r\n", "\t", "12345", "é", "e\u0301", "ﬁ", "仁義", "🎭"]
awkward += ["\0", "\xa0", "<|endoftext|>", "<|user|>", "<think>", " <think>  ", "plain", "[PAD]", "<s>", "</s>", "<|"]
words = st.sampled_from(awkward)
texts = st.lists(st.one_of(words, st.text(max_size=3))).map("".join)


@settings(deadline=None, max_examples=60)
@given(texts)
def test_the_ids_are_those_of_transformers(pairs: list[tuple[Tokenizer, Any]], text: str) -> None:
    for make, (ours, theirs) in zip(FOLDERS, pairs, strict=True):
        ids = ours.encode(text).tolist()
        assert ids == theirs.encode(text), make.__name__
        assert ours.decode(ids) == theirs.decode(ids, clean_up_tokenization_spaces=False), make.__name__


def test_vocabulary_and_end_of_text_are_those_of_transformers(pairs: list[tuple[Tokenizer, Any]]) -> None:
    for make, (ours, theirs) in zip(FOLDERS, pairs, strict=True):
        assert (ours.n_vocab, ours.eot_id) == (len(theirs), theirs.eos_token_id), make.__name__
        assert ours.end_of_text == theirs.eos_token
    assert [ours.n_vocab for ours, _ in pairs] == [401, 404, 405, 400, 403]


def test_a_folder_without_one_has_none(tmp_path: Path) -> None:
    assert read_hugging_face_tokenizer(tmp_path) is None
    (tmp_path / "spiece.model").touch()
    refused(tmp_path, "spiece.model: .* only tokenizer.json, or vocab.json with merges.txt, is read")


def refused(folder: Path, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        read_hugging_face_tokenizer(folder)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith("Give the model's tokenizer with --tokenizer")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"tokenizer_class": "BertTokenizer"}, "tokenizer_class is BertTokenizer; only GPT2Tokenizer,"),
        ({"auto_map": {"AutoTokenizer": ["mine.py", None]}}, "auto_map cannot be expressed"),
        ({"add_bos_token": True}, "add_bos_token cannot be expressed"),
        ({"added_tokens_decoder": {"500": {"content": "<far>"}}}, "'<far>' cannot have the id 500"),
        ({"added_tokens_decoder": ["<far>"]}, "its files do not make one"),
        ({"extra_special_tokens": 3}, "its files do not make one"),
        ([], "it holds a list, not an object"),
    ],
    ids=str,
)
def test_what_cannot_be_expressed_is_named(tmp_path: Path, config: Any, said: str) -> None:
    vocabulary(tmp_path / "model", tokenizer_config=config)
    refused(tmp_path / "model", said)


def test_a_file_that_another_contradicts_is_named(tmp_path: Path) -> None:
    made = trained(["</s>"])
    path = tmp_path / "tokenizer.json"

    def save(change: Callable[[dict[str, Any]], Any]) -> None:
        values = json.loads(made.to_str())
        change(values)
        path.write_text(json.dumps(values))

    save(lambda values: values["pre_tokenizer"].update(add_prefix_space=True))
    refused(tmp_path, "its pre_tokenizer is not that of GPT2Tokenizer.* PreTrainedTokenizerFast if the file is right")
    save(lambda values: values.update(normalizer={"type": "NFKC"}))
    refused(tmp_path, "its normalizer is not that of GPT2Tokenizer")
    save(lambda values: values["model"].update(dropout=0.5))
    refused(tmp_path, "its model is not that of GPT2Tokenizer")
    save(lambda values: values["model"].update(unk_token="</s>"))
    assert read_hugging_face_tokenizer(tmp_path)  # every byte is a token: none is unknown
    save(lambda values: values["model"].update(unk_token="</s>", vocab={"</s>": 0}, merges=[]))
    refused(tmp_path, "its unk_token is not that of GPT2Tokenizer")
    save(lambda values: values["model"].update(dropout=0.5))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    refused(tmp_path, "its dropout makes ids a matter of chance")
    made.post_processor = processors.TemplateProcessing("</s> $A", special_tokens=[("</s>", 0)])
    save(lambda values: None)
    refused(tmp_path, "it puts </s> at every text")
    path.write_text("{")
    refused(tmp_path, "it is not JSON")
    path.unlink()
    (tmp_path / "vocab.json").write_text("{}")
    refused(tmp_path, "merges.txt: .* it is missing; vocab.json and merges.txt belong together")
