"""`gptcore data` lists the data that exists and verifies its hashes."""

import contextlib
import hashlib
import re
from argparse import Namespace
from pathlib import Path

import pytest

from gptcore.commands import data
from gptcore.errors import UserError
from gptcore.files import SUMS, sha256sums, write_json, write_text
from tests.support.corpora import prose, write_corpus
from tests.support.engine import run_stage_here

CORPUS = {f"{i}": prose(i, 400) for i in range(12)}
ASKED = {"windows": 2, "tokens": 30, "seed": 0}


@pytest.fixture
def root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    write_corpus(tmp_path, CORPUS, test_fraction=0.2)
    text_sha256 = hashlib.sha256("".join(CORPUS.values()).encode()).hexdigest()
    files = [{"address": "https://me:hunter2@example.org/texts", "size": 4800, "sha256": text_sha256}]
    write_json(tmp_path / "data/raw/sources.json", {"text_sha256": text_sha256, "files": files})
    write_text(tmp_path / "data/raw" / SUMS, sha256sums(tmp_path / "data/raw"))
    assert run_stage_here("tokenize", tmp_path) == 0
    capsys.readouterr()
    return tmp_path


def run(root: Path, what: str) -> None:
    with contextlib.chdir(root):
        data.run(Namespace(what=what, **ASKED))


def test_inspect_says_what_is_there(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(root, "inspect")
    output = capsys.readouterr().out
    assert "https://***@example.org/texts: 4,800 bytes, sha256 " in output
    assert "tokenizer  byte, 257 ids as uint16, sha256 " in output
    _, *windows = re.split(r"\n(train|val|test) from token [\d,]+:\n", output)
    assert windows[::2] == ["train", "train", "val", "val", "test", "test"]
    text = "".join(CORPUS.values())
    for decoded in windows[1::2]:
        assert all(part in text for part in decoded[:-1].replace("\ufffd", "").split("<|endoftext|>"))


def test_verify_reads_every_file(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(root, "verify")
    named = {line.removeprefix("whole    ") for line in capsys.readouterr().out.splitlines()}
    tokens = {f"data/tokens/{split}.{end}" for split in ("train", "val", "test") for end in ("bin", "index.npy")}
    assert named == {"data/raw/documents.jsonl", "data/raw/sources.json", "data/tokens/tokenizer.json", *tokens}


def test_verify_names_all_that_is_damaged(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("raw/documents.jsonl", "tokens/val.bin"):
        path = root / "data" / name
        raw = bytearray(path.read_bytes())
        raw[-20:-19] = b"x"
        path.write_bytes(raw)
    (root / "data/tokens/train.index.npy").unlink()
    expected = "data/raw/documents.jsonl, data/tokens/train.index.npy, data/tokens/val.bin; the lines"
    with pytest.raises(UserError, match=expected):
        run(root, "verify")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("damaged")]
    assert [line.split("`")[1].split("dvc repro")[1] for line in lines] == ["", " tokenize", " tokenize"]


@pytest.mark.parametrize("name", ["raw/SHA256SUMS", "tokens/meta.json"])
def test_hashes_that_are_not_there(root: Path, name: str) -> None:
    (root / "data" / name).unlink()
    with pytest.raises(UserError, match=f"{Path(name).name} is missing; .*dvc repro"):
        run(root, "verify")
