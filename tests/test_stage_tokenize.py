"""The stage as DVC runs it: documents in, token files out, or one line and nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gptcore.errors import UserError
from gptcore.files import write_json
from gptcore.tokenizer import Tokenizer
from gptcore.tokens import open_tokens, read_meta, verify_tokens
from tests.engine import REPOSITORY, run_stage_here

BPE = {"tokenizer": "bpe", "vocab_size": 300, "val_fraction": 0.2, "val_split": "documents", "seed": 1}
LINES = ["Shall I compare thee to a summer's day?\n", "Thou art more lovely and more temperate.\n", "Ïn faith!\n"]
CORPUS = {f"Sonnet {i}": f"{i}\n" + LINES[i % 3] * 5 for i in range(10)}


def workspace(root: Path, corpus: dict[str, str] = CORPUS, **changes: Any) -> Path:
    (root / "data/raw").mkdir(parents=True)
    lines = [json.dumps({"title": title, "text": text}) for title, text in corpus.items()]
    (root / "data/raw/documents.jsonl").write_text("\n".join(lines) + "\n")
    return with_params(root, **changes)


def with_params(root: Path, **changes: Any) -> Path:
    write_json(root / "params.yaml", {"tokenize": {**BPE, **changes}})
    return root


def texts(root: Path) -> dict[str, list[tuple[str, str]]]:
    """Title and text of each document of each split, from the token files alone."""
    tokenizer = Tokenizer.load(root / "data/tokens/tokenizer.json")
    index = json.loads((root / "data/tokens/documents.json").read_text())
    found = {}
    for split in ("train", "val"):
        ids = open_tokens(root / "data/tokens", split)
        ends = [(each["title"], each["start"] + 1, each["start"] + each["tokens"]) for each in index[split]]
        found[split] = [(title, tokenizer.decode(ids[start:end])) for title, start, end in ends]
    return found


@pytest.mark.parametrize("tokenizer", ["bpe", "byte", "char"])
def test_every_document_is_there_once(tokenizer: str, tmp_path: Path) -> None:
    assert run_stage_here("tokenize", workspace(tmp_path, tokenizer=tokenizer)) == 0
    found = texts(tmp_path)
    assert sorted(found["train"] + found["val"]) == sorted(CORPUS.items())
    assert found["val"]
    meta, metrics = (
        verify_tokens(tmp_path / "data/tokens"),
        json.loads((tmp_path / "data/tokens/metrics.json").read_text()),
    )
    assert metrics["vocab_size"] == meta.vocab_size
    assert (metrics["train_tokens"], metrics["val_tokens"]) == (meta.train.tokens, meta.val.tokens)
    bytes_per_token = sum(len(text.encode()) for text in CORPUS.values()) / (meta.train.tokens + meta.val.tokens)
    assert metrics["bytes_per_token"] == pytest.approx(bytes_per_token)


def test_bpe_learns_from_the_training_split_alone(tmp_path: Path) -> None:
    run_stage_here("tokenize", workspace(tmp_path))
    before, val = (tmp_path / "data/tokens/tokenizer.json").read_bytes(), texts(tmp_path)["val"]
    assert read_meta(tmp_path / "data/tokens").vocab_size == 300
    only_training = {title: text for title, text in CORPUS.items() if (title, text) not in val}
    (tmp_path / "b").mkdir()
    # a tail of one byte leaves all training documents whole and in the same order
    tail = 0.5 / sum(len(text.encode()) for text in only_training.values())
    run_stage_here(
        "tokenize", workspace(tmp_path / "b", {**only_training, "end": "x"}, val_split="tail", val_fraction=tail)
    )
    assert (tmp_path / "b/data/tokens/tokenizer.json").read_bytes() == before


def test_running_again_writes_the_same_bytes(tmp_path: Path) -> None:
    run_stage_here("tokenize", workspace(tmp_path))
    first = {path.name: path.read_bytes() for path in (tmp_path / "data/tokens").iterdir()}
    run_stage_here("tokenize", tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "data/tokens").iterdir()} == first
    assert set(first) == {"train.bin", "val.bin", "meta.json", "documents.json", "tokenizer.json", "metrics.json"}


def test_one_document_needs_the_tail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "".join(CORPUS.values())
    assert run_stage_here("tokenize", workspace(tmp_path, {"all": text})) == 2
    assert "set tokenize.val_split=tail" in capsys.readouterr().err
    assert not (tmp_path / "data/tokens").exists()
    assert run_stage_here("tokenize", with_params(tmp_path, val_split="tail")) == 0
    [(_, head)], [(_, tail)] = texts(tmp_path).values()
    assert head + tail == text
    assert len(tail.encode()) == pytest.approx(0.2 * len(text.encode()), abs=2)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"vocab_size": 5000}, "the training text yields"),
        ({"tokenizer": "gpt2"}, "gpt2.tiktoken is missing; the download stage fetches it"),
        ({"tokenizer": "words"}, "tokenize.tokenizer: input should be 'bpe', 'gpt2', 'char' or 'byte', got 'words'"),
        ({"val_fraction": 1.5}, "tokenize.val_fraction: input should be less than 1, got 1.5"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    changes: dict[str, Any], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_stage_here("tokenize", workspace(tmp_path, **changes)) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["raw"]


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    """On a file system of 1 MiB of its own, which needs no root where user namespaces are allowed."""
    corpus = workspace(tmp_path / "corpus", {"a": "a" * 300_000, "b": "b" * 300_000}, tokenizer="byte")
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f"""
        mount -t tmpfs -o size=1m tmpfs {disk} || exit 77
        cp -r {corpus}/. {disk} && cd {disk} || exit 78
        PYTHONPATH={REPOSITORY} {sys.executable} -m gptcore.stages.tokenize; code=$?
        find {disk}/data -type f; exit $code"""
    ran = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
                         capture_output=True, text=True)  # fmt: skip
    if ran.returncode == 77 or ran.stderr.startswith("unshare:"):
        pytest.skip(f"no file system can be mounted here: {ran.stderr.strip()}")
    assert ran.returncode == 2, ran.stderr
    assert ran.stderr == f"error: tokenize: the disk is full at {disk}/data/tokens; free some space and run it again\n"
    assert ran.stdout.split() == [f"{disk}/data/raw/documents.jsonl"]


def test_the_advice_for_a_damaged_file_mends_it_under_dvc(tmp_path: Path) -> None:
    """Damage that DVC does not see: content changed, time and mode not, in a file linked to DVC's cache."""
    workspace(tmp_path, tokenizer="byte")
    stage = {"cmd": f"{sys.executable} -m gptcore.stages.tokenize", "params": ["tokenize"], "outs": ["data/tokens"]}
    write_json(tmp_path / "dvc.yaml", {"stages": {"tokenize": stage}})
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(REPOSITORY), "DVC_NO_ANALYTICS": "1"}

    def shell(command: str) -> None:
        subprocess.run(command, shell=True, check=True, cwd=tmp_path, env=environment, capture_output=True)

    shell("dvc init -q --no-scm && dvc config cache.type hardlink && dvc repro")
    damaged = tmp_path / "data/tokens/train.bin"
    before, raw = damaged.stat(), damaged.read_bytes()
    damaged.chmod(0o644)
    with damaged.open("r+b") as file:
        file.write(b"\xff")
    os.utime(damaged, ns=(before.st_atime_ns, before.st_mtime_ns))
    damaged.chmod(before.st_mode)
    with pytest.raises(UserError, match=r"train.bin is damaged") as error:
        verify_tokens(tmp_path / "data/tokens")
    shell(str(error.value).split("`")[1])
    verify_tokens(tmp_path / "data/tokens")
    assert damaged.read_bytes() == raw
