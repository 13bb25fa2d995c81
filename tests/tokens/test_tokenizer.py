"""Every tokenizer round-trips every text, and its file fully describes it."""

import base64
import json
import os
import subprocess
import sys
from itertools import chain
from pathlib import Path
from time import process_time

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import ByteLevel

from gptcore.errors import UserError
from gptcore.tokens.long_runs import encode_around_runs
from gptcore.tokens.make_tokenizer import (
    WORD,
    byte_tokenizer,
    char_tokenizer,
    of_known_words,
    sentencepiece_tokenizer,
    tiktoken_tokenizer,
    train_bpe,
)
from gptcore.tokens.text_stream import TextStream
from gptcore.tokens.tokenizer import BYTES, PATTERNS, Tokenizer, require_tokenizer
from tests.support.corpora import prose

REPOSITORY = Path(__file__).parents[2]
TEXT = (
    "ROMEO. But, soft! what light through yonder window breaks?\n\n  It is the east, and Juliet's the sun.\n"
    "Arise, fair sun, and kill the envious moon, 42 times;\n\tI'll, we've, they're, d'accord: naïve, 仁義.\n"
) * 3
BPE = train_bpe(iter([TEXT]), 300)

any_text = st.text(st.characters(codec="utf-8"), max_size=60)
# words, contractions, numbers and white space of all kinds next to each other: where the pattern splits
tricky_text = st.lists(st.sampled_from(["sun", " ", "\n", "\t", "\r\n", "'s", "'ll", "'", "7", "é", "!", "　", "\x1c"]))
texts = any_text | tricky_text.map("".join)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A GPT-2 tokenizer from a file in the package index's format, with different ranks."""
    path = tmp_path_factory.mktemp("ranks") / "gpt2.tiktoken"
    path.write_text("".join(f"{base64.b64encode(token).decode()} {i}\n" for i, token in enumerate(BPE.tokens)))
    return tiktoken_tokenizer("gpt2", path)


@settings(deadline=None)  # the first example builds tokenizers, and machines are busy
@given(texts)
def test_round_trip_of_any_text(gpt2: Tokenizer, text: str) -> None:
    for tokenizer in (BPE, gpt2, byte_tokenizer(), char_tokenizer([TEXT, text])):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert tokenizer.decode(ids.tolist()) == text
        assert all(0 <= token_id < tokenizer.eot_id for token_id in ids)


@settings(deadline=None)
@given(st.lists(texts | st.sampled_from(["<|endoftext|>", "\xa0", "\0", " \n\n ", "\n\n"])))
def test_documents_at_once_are_documents_one_by_one(documents: list[str]) -> None:
    for tokenizer in (BPE, byte_tokenizer()):
        one_by_one = [[tokenizer.eot_id, *tokenizer.encode(document).tolist()] for document in documents]
        ids = tokenizer.encode_documents([each.encode() for each in documents])
        assert ids.tolist() == list(chain(*one_by_one))
        assert tokenizer.gives(ids, "".join(f"<|endoftext|>{document}" for document in documents).encode())


@settings(deadline=None)
@given(texts, texts)
def test_whether_ids_give_a_text(text: str, other: str) -> None:
    for tokenizer in (BPE, byte_tokenizer(), char_tokenizer([TEXT, text, other])):
        assert tokenizer.gives(tokenizer.encode(text), text.encode())
        assert tokenizer.gives(tokenizer.encode(other), text.encode()) == (text == other)


def test_bytes_and_characters() -> None:
    assert byte_tokenizer().encode("aé").tolist() == [97, 0xC3, 0xA9]
    assert byte_tokenizer().n_vocab == 257
    characters = char_tokenizer(["cab", "é"])
    assert characters.encode("abcé").tolist() == [0, 1, 2, 3]
    assert characters.eot_id == 4


def test_gpt2_keeps_the_ranks_of_its_file(gpt2: Tokenizer) -> None:
    assert (gpt2.kind, gpt2.tokens, gpt2.eot_id) == ("gpt2", BPE.tokens, len(BPE.tokens))


def test_the_name_of_the_special_token_is_ordinary_text(gpt2: Tokenizer) -> None:
    for tokenizer in (BPE, gpt2, byte_tokenizer(), char_tokenizer(["<|endoftext|>"])):
        ids = tokenizer.encode("<|endoftext|>")
        assert tokenizer.eot_id not in ids
        assert tokenizer.decode(ids) == "<|endoftext|>"
        assert tokenizer.decode([tokenizer.eot_id]) == "<|endoftext|>"


def test_half_a_character_decodes_to_a_replacement() -> None:
    assert byte_tokenizer().decode([0xC3]) == "�"


def test_an_unknown_character_is_named() -> None:
    with pytest.raises(UserError, match="the vocabulary has no 'z'"):
        char_tokenizer(["abc"]).encode("az")


@pytest.fixture(scope="module")
def openai() -> list[Tokenizer]:
    """A tokenizer for each of OpenAI's patterns, with merges of white space."""
    tokens = (*BPE.tokens, b"  ", b"\n\n", b" \n", b"!\n", b"\t\t", b"\xc2\xa0")
    return [Tokenizer(kind, pattern, tuple(dict.fromkeys(tokens))) for kind, pattern in PATTERNS.items()]


words = st.sampled_from(["\r\n", "\t", "\xa0", "\x1c", "sun", "!", "7", "'s", "/"])
spaces = st.lists(st.text(" \n", max_size=5) | words)


@settings(deadline=None)
@given(spaces.map("".join), st.integers(2, 4))
def test_long_runs_of_white_space_have_the_ids_of_tiktoken(openai: list[Tokenizer], text: str, long: int) -> None:
    for tokenizer in openai:
        ids = encode_around_runs(tokenizer.encoding, text, tokenizer.kind != "gpt2", long)
        assert ids.tolist() == tokenizer.encoding.encode_ordinary(text)


def test_a_million_white_space_characters(openai: list[Tokenizer]) -> None:
    """tiktoken's regular expressions need stack for each of them, and have not enough."""
    text = "to be\xa0" + "\n" * 1_000_000 + "or" + " " * 1_000_000
    for tokenizer in openai:
        assert tokenizer.gives(tokenizer.encode(text), text.encode())


@pytest.fixture(scope="module")
def trained() -> tokenizers.Tokenizer:
    trained = tokenizers.Tokenizer(tokenizers.models.BPE())
    trained.pre_tokenizer = ByteLevel(add_prefix_space=False)
    alphabet = ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=299, min_frequency=2, initial_alphabet=alphabet)
    trained.train_from_iterator([TEXT], trainer)
    return trained


@settings(deadline=None)  # the first example builds tokenizers, and machines are busy
@given(texts)
def test_trained_bpe_splits_text_as_the_library_that_trained_it(trained: tokenizers.Tokenizer, text: str) -> None:
    theirs = [len(token) for token in trained.encode(text).tokens]  # one character of its alphabet is one byte
    assert [len(BPE.tokens[token_id]) for token_id in BPE.encode(text)] == theirs


def test_bpe_learns_and_has_the_size_asked_for() -> None:
    assert BPE.n_vocab == 300
    assert BPE.tokens[:256] == BYTES
    assert len(BPE.encode(TEXT)) < 0.7 * len(TEXT.encode())


def test_time_to_learn_grows_with_a_words_length_and_not_its_square() -> None:
    def seconds(characters: int) -> float:
        start = process_time()
        train_bpe(iter([TEXT, "a" * characters, "ab" * (characters // 2)]), 300)
        return process_time() - start

    assert seconds(400_000) < 0.5 + 20 * seconds(50_000), "8 times the length; squared it is 64 times, and 50 s"


@given(st.lists(st.text("ab \n", max_size=30)), st.integers(1, 40))
def test_a_sample_of_bounded_memory(sample: list[str], limit: int) -> None:
    kept = list(of_known_words(sample, limit))
    distinct = {word for text in kept for word in WORD.findall(text)}
    assert sum(map(len, distinct)) < limit + 30, "the longest word of these"
    everything = {word for text in sample for word in WORD.findall(text)}
    if sum(map(len, everything)) < limit:
        assert kept == sample


def test_bpe_of_too_little_text_says_what_it_can() -> None:
    with pytest.raises(UserError, match=r"yields 26\d tokens only; set tokenize.vocab_size"):
        train_bpe(iter(["to be or not to be"]), 1000)


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lossless model from sentencepiece's own trainer."""
    from sentencepiece import SentencePieceTrainer

    folder = tmp_path_factory.mktemp("sentencepiece")
    (folder / "text").write_text("\n".join(prose(seed, 500).replace("\n", " ") for seed in range(40)))
    SentencePieceTrainer.train(
        input=str(folder / "text"), model_prefix=str(folder / "model"), vocab_size=320, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2,
    )  # fmt: skip
    return folder / "model.model"


def test_a_sentencepiece_model_that_a_user_brings(sentences: Path, tmp_path: Path) -> None:
    sentencepiece_tokenizer(sentences).save(tmp_path / "tokenizer.json")
    tokenizer = Tokenizer.load(tmp_path / "tokenizer.json")
    assert (tokenizer.n_vocab, tokenizer.eot_id) == (321, 320)
    text = prose(99, 2000)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.gives(ids, text.encode())
    assert not tokenizer.gives(ids[2:], text.encode())
    assert (
        tokenizer.decode([*tokenizer.encode("to be"), 320, *tokenizer.encode("or not")]) == "to be<|endoftext|>or not"
    )
    assert tokenizer.unsayable_ids == [0, 1, 2]  # the unknown, the begin and the end of a sentence
    stream, ids = TextStream(tokenizer), tokenizer.encode("to be \U0001f3ad or").tolist()
    pieces = [stream.push([each]) for each in ids]
    assert "".join(pieces) == "to be \U0001f3ad or" and stream.end() == ""
    assert not any("\ufffd" in piece for piece in pieces)
    with pytest.raises(UserError, match="is no sentencepiece model"):
        sentencepiece_tokenizer(tmp_path / "tokenizer.json")


def test_a_model_refuses_the_tokens_of_another_tokenizer(tmp_path: Path) -> None:
    for name, tokenizer in (("tokens", BPE), ("model", BPE), ("other", byte_tokenizer())):
        (tmp_path / name).mkdir()
        tokenizer.save(tmp_path / name / "tokenizer.json")
    require_tokenizer(tmp_path / "tokens", tmp_path / "model")
    with pytest.raises(UserError, match=r"tokens was made with another tokenizer than .*other learned"):
        require_tokenizer(tmp_path / "tokens", tmp_path / "other")


@pytest.mark.parametrize("make", [lambda: BPE, byte_tokenizer, lambda: char_tokenizer([TEXT])])
def test_saved_and_loaded(make: object, tmp_path: Path) -> None:
    tokenizer = make()  # type: ignore[operator]
    tokenizer.save(tmp_path / "tokenizer.json")
    assert Tokenizer.load(tmp_path / "tokenizer.json") == tokenizer


def test_training_gives_the_same_file_in_every_process(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from gptcore.tokens.make_tokenizer import train_bpe;"
        "train_bpe(iter(Path(sys.argv[1]).read_text().split('#')), 320).save(Path(sys.argv[2]))"
    )
    texts = [TEXT[i:] for i in range(40)]
    train_bpe(iter(texts), 320).save(tmp_path / "a")
    (tmp_path / "text").write_text("#".join(texts))
    command = [sys.executable, "-c", program, tmp_path / "text", tmp_path / "b"]
    environment = os.environ | {"RAYON_NUM_THREADS": "1", "PYTHONHASHSEED": "1"}
    subprocess.run(command, check=True, cwd=REPOSITORY, env=environment)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_saved_tokenizer_needs_neither_network_nor_what_trained_it(tmp_path: Path) -> None:
    BPE.save(tmp_path / "tokenizer.json")
    program = (
        "import socket, sys\n"
        "for name in ('tokenizers', 'pypi_simple', 'requests', 'ruamel', 'rich'): sys.modules[name] = None\n"
        "socket.socket.connect = None\n"
        "from pathlib import Path\n"
        "import gptcore.corpus.corpus, gptcore.tokens.token_files, gptcore.stages.tokenize\n"
        "from gptcore.tokens.tokenizer import Tokenizer\n"
        "print(Tokenizer.load(Path(sys.argv[1])).encode('the sun').tolist())"
    )
    command = [sys.executable, "-c", program, tmp_path / "tokenizer.json"]
    ran = subprocess.run(command, check=True, cwd=REPOSITORY, capture_output=True, text=True)
    assert ran.stdout.strip() == str(BPE.encode("the sun").tolist())


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("tokens", ["IQ==", "IQ=="], "a token is there twice"),
        ("tokens", ["IQ=="], "not every byte is a token"),
        ("tokens", ["!"], "tokens.0"),
        ("kind", "words", "kind"),
        ("kind", "sentencepiece", "a model is there if, and only if"),
        ("format_version", 2, "format_version"),
    ],
)
def test_a_damaged_file_is_named(field: str, value: object, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    BPE.save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(UserError, match=f"tokenizer.json is no tokenizer or damaged: .*{complaint}") as error:
        Tokenizer.load(path)
    assert "\n" not in str(error.value)


def test_a_cut_and_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(UserError, match=r"tokenizer.json is missing; .*dvc repro tokenize"):
        Tokenizer.load(path)
    BPE.save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"tokenizer.json is no tokenizer or damaged"):
        Tokenizer.load(path)
