"""Token files contain the whole text in nanoGPT's format, and damage to them is detected."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from gptcore.corpus.documents import Document
from gptcore.corpus.split import Split
from gptcore.errors import UserError
from gptcore.tokens.assemble import assemble
from gptcore.tokens.encode import Encoded, encode
from gptcore.tokens.make_tokenizer import byte_tokenizer, char_tokenizer, train_bpe
from gptcore.tokens.token_files import TokensMeta, document_starts, open_tokens, read_index, read_meta, verify_tokens
from gptcore.tokens.tokenizer import BYTES, Tokenizer
from gptcore.training.batches import Batches

TEXTS: list[tuple[Split, str, str]] = [
    ("train", "Hamlet", "To be, or not to be: that is the question.\n"),
    ("val", "Lear", "Nothing will come of nothing: speak again.\n"),
    ("train", "Sonnets", "Ïn faith, I do not love thee with mine eyes,\r\n  仁 <|endoftext|>\n"),
]
BPE = train_bpe((text for _, _, text in TEXTS), 270)
TOKENIZERS = [BPE, byte_tokenizer(), char_tokenizer(text for _, _, text in TEXTS)]


def encoded(tokenizer: Tokenizer, texts: list[tuple[Split, str, str]]) -> dict[Split, Encoded]:
    documents = [Document(title=title, text=text) for _, title, text in texts]
    sizes = [len(text.encode()) for _, _, text in texts]
    points = [[size * (split == "train"), size * (split != "test")]
              for (split, _, _), size in zip(texts, sizes, strict=True)]  # fmt: skip
    return encode(tokenizer, documents, np.array(points))


def write(
    folder: Path, tokenizer: Tokenizer, texts: list[tuple[Split, str, str]], file_tokens: int = 1 << 32
) -> TokensMeta:
    return assemble(folder, tokenizer, [(0, encoded(tokenizer, texts))], file_tokens=file_tokens)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "tokens", BPE, TEXTS)
    return tmp_path / "tokens"


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda tokenizer: tokenizer.kind)
def test_documents_are_found_by_the_index(tokenizer: Tokenizer, tmp_path: Path) -> None:
    meta = write(tmp_path / "tokens", tokenizer, TEXTS)
    for split, of_split in meta.splits().items():
        ids = open_tokens(tmp_path / "tokens", split)
        expected = [(line, text) for line, (where, _, text) in enumerate(TEXTS) if where == split]
        index = read_index(tmp_path / "tokens", split)
        assert document_starts(tmp_path / "tokens", split).tolist() == index[:, 0].tolist()
        for (start, size, line), end, (number, text) in zip(index, [*index[1:, 0], len(ids)], expected, strict=True):
            assert ids[np.arange(start, end)].tolist() == [tokenizer.eot_id, *tokenizer.encode(text)]
            assert (size, line) == (len(text.encode()), number)
        assert (of_split.tokens, of_split.documents) == (len(ids), len(expected))
        assert of_split.bytes == sum(len(text.encode()) for _, text in expected)
        digests = [hashlib.sha256(text.encode()).digest() for _, text in expected]
        assert of_split.text_sha256 == hashlib.sha256(b"".join(digests)).hexdigest()
    assert read_meta(tmp_path / "tokens") == verify_tokens(tmp_path / "tokens") == meta
    assert Tokenizer.load(tmp_path / "tokens/tokenizer.json") == tokenizer


def test_nanogpt_can_read_the_files(folder: Path) -> None:
    ids = np.fromfile(folder / "val.bin", dtype="<u2")
    assert ids.tolist() == [BPE.eot_id, *BPE.encode(TEXTS[1][2]).tolist()]


@pytest.mark.parametrize(("characters", "dtype", "width"), [(65_535, "uint16", 2), (65_536, "uint32", 4)])
def test_ids_never_wrap(characters: int, dtype: str, width: int, tmp_path: Path) -> None:
    text = "".join(map(chr, range(0x10000, 0x10000 + characters)))
    meta = write(tmp_path / "tokens", char_tokenizer([text]), [("train", "all", text), ("val", "one", text[-1])])
    assert (meta.dtype, meta.eot_id) == (dtype, characters)
    assert (tmp_path / "tokens/train.bin").stat().st_size == width * (characters + 1)
    tokens = open_tokens(tmp_path / "tokens", "train")
    assert tokens[np.arange(len(tokens))].tolist() == [characters, *range(characters)]
    verify_tokens(tmp_path / "tokens")


def test_a_long_split_is_several_files_that_read_as_one(tmp_path: Path) -> None:
    one, several = write(tmp_path / "one", BPE, TEXTS), write(tmp_path / "several", BPE, TEXTS, file_tokens=10)
    assert list(one.train.files) == ["train.bin"]
    assert list(several.train.files) == [f"train-{i:05d}.bin" for i in range(-(-one.train.tokens // 10))]
    assert several == verify_tokens(tmp_path / "several")
    whole, parts = open_tokens(tmp_path / "one", "train"), open_tokens(tmp_path / "several", "train")
    assert len(parts) == len(whole)
    positions = np.random.default_rng(0).integers(0, len(whole), (7, 5))
    assert (parts[positions] == whole[positions]).all()
    batches = [Batches(tokens, 8, 2, "epochs", seed=1) for tokens in (whole, parts)]
    assert all(torch.equal(a, b) for a, b in zip(batches[0][3], batches[1][3], strict=True))
    damaged = tmp_path / "several/train-00001.bin"
    damaged.write_bytes(damaged.read_bytes()[::-1])
    with pytest.raises(UserError, match=r"train-00001.bin is damaged"):
        verify_tokens(tmp_path / "several")


def test_a_split_that_is_not_there(folder: Path) -> None:
    with pytest.raises(UserError, match=r"no split test; set tokenize.test_fraction"):
        open_tokens(folder, "test")


def test_a_split_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"so short that val has no text"):
        write(tmp_path / "tokens", BPE, TEXTS[:1])
    assert not list(tmp_path.iterdir())


def test_pieces_one_after_the_other(tmp_path: Path) -> None:
    """A piece may have no part of a split."""
    texts: list[tuple[Split, str, str]] = [("train", "a", "to be"), ("val", "b", "nothing"), ("train", "c", "again")]
    parts = [(0, encoded(BPE, texts[:2])), (2, encoded(BPE, texts[2:]))]
    assert assemble(tmp_path / "two", BPE, parts) == write(tmp_path / "one", BPE, texts)
    assert read_index(tmp_path / "two", "val")[:, 1:].tolist() == [[7, 1]]
    assert read_index(tmp_path / "two", "train")[:, 1:].tolist() == [[5, 0], [5, 2]]


def test_a_tokenizer_that_loses_text_is_found() -> None:
    lossy = Tokenizer("bpe", r"\S+", BYTES)
    with pytest.raises(UserError, match="document 'Hamlet': decoding its bpe tokens gives another text"):
        encoded(lossy, TEXTS)


def test_what_fails_leaves_what_was_there(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError):
        assemble(folder, BPE, ((0, encoded(BPE, TEXTS[:count])) for count in (1, 1)))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("name", ["train.bin", "val.bin", "tokenizer.json", "train.index.npy"])
def test_a_damaged_file_is_named_with_what_to_do(folder: Path, name: str) -> None:
    path = folder / name
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(UserError, match=rf"{name} is damaged: its sha256 .*chmod u\+w .*dvc repro tokenize") as error:
        verify_tokens(folder)
    assert "\n" not in str(error.value)


def test_a_short_and_a_missing_file_are_named(folder: Path) -> None:
    path = folder / "val.bin"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(UserError, match=r"val.bin is damaged"):
        verify_tokens(folder)
    path.unlink()
    with pytest.raises(UserError, match=r"val.bin is missing; .*dvc repro tokenize"):
        verify_tokens(folder)
    shutil.rmtree(folder)
    with pytest.raises(UserError, match=r"meta.json is missing; .*dvc repro tokenize"):
        verify_tokens(folder)


def test_meta_data_that_do_not_fit_the_ids(folder: Path) -> None:
    path = folder / "meta.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "vocab_size": 100}))
    with pytest.raises(UserError, match=r"meta.json is damaged: there are ids beyond its vocab_size 100"):
        verify_tokens(folder)
    path.write_text(path.read_text()[:50])
    with pytest.raises(UserError, match=r"meta.json is damaged: Invalid JSON"):
        verify_tokens(folder)
