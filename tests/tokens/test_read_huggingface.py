"""The tokenizer of a Hugging Face folder gives AutoTokenizer's ids, or is refused by name."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors, trainers

from gptcore.errors import UserError
from gptcore.tokens.huggingface_tokenizer import CHAT_TEMPLATE, write_hugging_face_tokenizer
from gptcore.tokens.read_huggingface import read_hugging_face_tokenizer
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.tokens.written import written
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


CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] | trim }}"
    "{% generation %}{% endgeneration %}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    "{% if tools is not none %}{{ tools | tojson }}{% endif %}"
)
BRACKETS = (
    "\n{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}"
    "{{ eos_token if m.role[0] == 'a' }}{% endfor %}"
)
TALK = [
    {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi <|im_start|>"},
    {"role": "assistant", "content": "Hello"}, {"role": "user", "content": " the sun\n\nrises "},
]  # fmt: skip


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a folder whose tokenizer has a chat template, and other names for the beginning and the end of a text."""
    import transformers

    plain = tmp_path_factory.mktemp("chats") / "plain"
    vocabulary(plain)

    def make(template: str) -> Path:
        theirs = transformers.AutoTokenizer.from_pretrained(plain)
        theirs.add_special_tokens({"eos_token": "<|im_end|>", "bos_token": "<s>"})
        theirs.add_tokens([AddedToken("<|im_start|>", special=True)])
        theirs.chat_template = template
        folder = tmp_path_factory.mktemp("chats")
        theirs.save_pretrained(folder)
        (folder / "config.json").write_text('{"model_type": "gpt2"}')
        return folder

    return make


@pytest.mark.parametrize("template", [CHATML, BRACKETS])
def test_a_chat_template_of_others_gives_transformers_ids(chats: Callable[[str], Path], template: str) -> None:
    """Also once it has gone out again, and from the config, where it was until 2025."""
    import transformers

    folder = chats(template)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    ours = read_hugging_face_tokenizer(folder)
    assert ours and ours.has_other_template
    assert Tokenizer.load(saved_in(folder, ours)).chat_template == ours.chat_template, "it travels with the model"
    for talk in (TALK[1:2], TALK, TALK[1:]):
        ids = theirs.apply_chat_template(talk, add_generation_prompt=True, return_dict=False)
        assert ours.encode_chat(talk) == ids
    write_hugging_face_tokenizer(folder, ours)
    again = transformers.AutoTokenizer.from_pretrained(folder)
    assert again.apply_chat_template(TALK, add_generation_prompt=True, return_dict=False) == ours.encode_chat(TALK)
    back = read_hugging_face_tokenizer(folder)
    assert back and back.chat_template == ours.chat_template, "it does not grow"
    folder = chats(template)
    (folder / CHAT_TEMPLATE).unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    named = [{"name": "tools", "template": "x"}, {"name": "default", "template": template}]
    for value in (template, named):
        (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": value}))
        found = read_hugging_face_tokenizer(folder)
        assert found and found.encode_chat(TALK) == ours.encode_chat(TALK)


def saved_in(folder: Path, tokenizer: Tokenizer) -> Path:
    tokenizer.save(folder / "ours.json")
    return folder / "ours.json"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ strftime_now('%d') }}", "'strftime_now' is undefined"),
        ("{% for", "the chat template refuses it"),
        ("{{ messages.__class__.__mro__ }}", "unsafe"),
        ("{{ raise_exception('no\nsystem') }}", "refuses it: no system. Give the model's tokenizer with --tokenizer"),
    ],
)
def test_a_chat_template_that_cannot_be_used_is_refused(chats: Callable[[str], Path], template: str, said: str) -> None:
    with pytest.raises(UserError, match="this tokenizer cannot be read: the chat template") as error:
        read_hugging_face_tokenizer(chats(template))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_records_are_written_in_the_template_and_responses_learned_to_their_end(chats: Callable[[str], Path]) -> None:
    tokenizer = read_hugging_face_tokenizer(chats(CHATML))
    assert tokenizer
    talks = [["the sun", "rises", "and", "sets"], ["a", " b "]]
    texts = [[each.encode() for each in talk] for talk in talks]
    found = written(tokenizer, texts)
    assert found.is_whole and found.starts.tolist() == [0, len(written(tokenizer, texts[:1]).ids)]
    whole = "".join(
        f"<|im_start|>{'user' if place % 2 == 0 else 'assistant'}\n{each.strip()}<|im_end|>\n"
        for talk in talks for place, each in enumerate(talk)
    )  # fmt: skip
    assert tokenizer.decode(found.ids) == whole
    learned = found.ids[1:][found.mask[:-1] == 1]
    assert tokenizer.decode(learned) == "rises<|im_end|>sets<|im_end|>b<|im_end|>"
    asked = tokenizer.encode_chat([{"role": "user", "content": "a"}])
    start = found.starts[1]
    assert found.ids[start : start + len(asked)].tolist() == asked, "a model is asked as it has learned"
    assert not found.mask[start : start + len(asked) - 1].any() and found.mask[start + len(asked) - 1]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for m in messages %}{{ m.content }}\n{% endfor %}", "ends no response with <|im_end|>"),
        ("{{ messages | length }}{{ messages[-1].content }}{{ eos_token }}", "writes earlier messages anew"),
    ],
)
def test_a_template_without_a_response_is_refused(chats: Callable[[str], Path], template: str, said: str) -> None:
    tokenizer = read_hugging_face_tokenizer(chats(template))
    assert tokenizer
    with pytest.raises(UserError, match=re.escape(said)):
        written(tokenizer, [[b"a", b"b"]])
