"""Token files say all of the text, in nanoGPT's format, and damage to them is found."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptcore.errors import UserError
from gptcore.tokenizer import BYTES, Tokenizer, byte_tokenizer, char_tokenizer, train_bpe
from gptcore.tokens import Split, open_tokens, pieces, read_meta, verify_tokens, write_tokens

TEXTS: list[tuple[Split, str, str]] = [
    ("train", "Hamlet", "To be, or not to be: that is the question.\n"),
    ("val", "Lear", "Nothing will come of nothing: speak again.\n"),
    ("train", "Sonnets", "Ïn faith, I do not love thee with mine eyes,\r\n  仁 <|endoftext|>\n"),
]
BPE = train_bpe((text for _, _, text in TEXTS), 270)
TOKENIZERS = [BPE, byte_tokenizer(), char_tokenizer(text for _, _, text in TEXTS)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tokens(tmp_path / "tokens", BPE, TEXTS)
    return tmp_path / "tokens"


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda tokenizer: tokenizer.kind)
def test_documents_are_found_by_the_index(tokenizer: Tokenizer, tmp_path: Path) -> None:
    meta = write_tokens(tmp_path / "tokens", tokenizer, TEXTS)
    index = json.loads((tmp_path / "tokens/documents.json").read_text())
    for split, entries in index.items():
        ids, found = open_tokens(tmp_path / "tokens", split), []
        for entry in entries:
            document = ids[entry["start"] : entry["start"] + entry["tokens"]]
            assert document[0] == tokenizer.eot_id
            found.append((split, entry["title"], tokenizer.decode(document[1:])))
            assert entry["bytes"] == len(found[-1][2].encode())
        assert found == [each for each in TEXTS if each[0] == split]
        of_split = getattr(meta, split)
        text = "".join(text for _, _, text in found).encode()
        assert of_split.tokens == len(ids)
        assert (of_split.documents, of_split.bytes) == (len(found), len(text))
        assert of_split.text_sha256 == hashlib.sha256(text).hexdigest()
    assert read_meta(tmp_path / "tokens") == verify_tokens(tmp_path / "tokens") == meta
    assert Tokenizer.load(tmp_path / "tokens/tokenizer.json") == tokenizer


def test_nanogpt_can_read_the_files(folder: Path) -> None:
    ids = np.fromfile(folder / "val.bin", dtype="<u2")
    assert ids.tolist() == [BPE.eot_id, *BPE.encode(TEXTS[1][2]).tolist()]


@pytest.mark.parametrize(("characters", "dtype", "width"), [(65_535, "uint16", 2), (65_536, "uint32", 4)])
def test_ids_never_wrap(characters: int, dtype: str, width: int, tmp_path: Path) -> None:
    text = "".join(map(chr, range(0x10000, 0x10000 + characters)))
    meta = write_tokens(tmp_path / "tokens", char_tokenizer([text]), [("train", "all", text), ("val", "one", text[-1])])
    assert (meta.dtype, meta.eot_id) == (dtype, characters)
    assert (tmp_path / "tokens/train.bin").stat().st_size == width * (characters + 1)
    assert open_tokens(tmp_path / "tokens", "train").tolist() == [characters, *range(characters)]
    verify_tokens(tmp_path / "tokens")


words = st.lists(
    st.sampled_from(["sun", "to", " ", "  ", "\n", "\t", "\x1c", "　", "'s", "'", "7", "é", "!"]), max_size=40
)


@settings(deadline=None)  # the first example builds tokenizers, and machines are busy
@given(words.map("".join), st.integers(0, 5))
def test_a_large_document_can_be_tokenized_in_pieces(text: str, characters: int) -> None:
    parts = list(pieces(text, characters))
    assert "".join(parts) == text
    assert all(len(part) > characters for part in parts[:-1])
    for tokenizer in (BPE, byte_tokenizer()):
        assert np.concatenate([tokenizer.encode(part) for part in parts]).tolist() == tokenizer.encode(text).tolist()


def test_pieces_keep_memory_small() -> None:
    parts = list(pieces("to be or not to be " * 100, 50))
    assert len(parts) > 30
    assert max(map(len, parts)) < 60


def test_a_tokenizer_that_loses_text_is_found_and_nothing_is_written(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    lossy = Tokenizer("bpe", r"\S+", BYTES)
    with pytest.raises(UserError, match="document 'Hamlet': decoding its bpe tokens gives another text"):
        write_tokens(folder, lossy, TEXTS)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("name", ["train.bin", "val.bin", "tokenizer.json"])
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
