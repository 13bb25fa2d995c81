"""The stage as DVC runs it: documents in, token files out, or a one-line error and no files."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gptcore.tokens.pieces
from gptcore.config.paths import Paths
from gptcore.corpus.split import TokenizeConfig
from gptcore.errors import UserError
from gptcore.files import SUMS, sha256sums, write_json
from gptcore.tokens.encode import encode_piece
from gptcore.tokens.encoding_plan import make_plan
from gptcore.tokens.fast_encoder import FastEncoder
from gptcore.tokens.shared_folder import shared_folder
from gptcore.tokens.token_files import open_tokens, read_meta, verify_tokens
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.tokens.workers import Workers
from tests.support import scratch
from tests.support.corpora import prose, texts, write_corpus
from tests.support.engine import REPOSITORY, TOKENIZE, run_stage_here, start_stage
from tests.support.patience import PATIENCE

BPE = {"tokenizer": "bpe", "vocab_size": 300, "val_fraction": 0.2}
LINES = ["Shall I compare thee to a summer's day?\n", "Thou art more lovely and more temperate.\n", "Ïn faith!\n"]
CORPUS = {f"Sonnet {i}": f"{i}\n" + LINES[i % 3] * 5 for i in range(10)}


def workspace(root: Path, corpus: dict[str, str] = CORPUS, **changes: Any) -> Path:
    return write_corpus(root, corpus, **{**BPE, **changes})


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def children(parent: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def with_params(root: Path, **changes: Any) -> Path:
    write_json(root / "params.yaml", {"tokenize": {**TOKENIZE, **BPE, **changes}})
    return root


def files(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "data/tokens").iterdir()}


@pytest.mark.parametrize("tokenizer", ["bpe", "byte", "char"])
def test_every_document_is_there_once(tokenizer: str, tmp_path: Path) -> None:
    assert run_stage_here("tokenize", workspace(tmp_path, tokenizer=tokenizer)) == 0
    found = texts(tmp_path, list(CORPUS))
    assert list((tmp_path / "data/scratch").rglob("*")) == [tmp_path / "data/scratch/tokenize"]
    assert sorted(found["train"] + found["val"]) == sorted(CORPUS.items())
    assert found["val"]
    meta, metrics = (
        verify_tokens(tmp_path / "data/tokens"),
        json.loads((tmp_path / "data/tokens/metrics.json").read_text()),
    )
    assert metrics["vocab_size"] == meta.vocab_size
    for split in meta.splits():
        joined = "".join(text for _, text in found[split]).encode()
        counted = [metrics[f"{split}_{name}"] for name in ("documents", "bytes", "tokens")]
        assert counted == [len(found[split]), len(joined), len(open_tokens(tmp_path / "data/tokens", split))]
    bytes_per_token = sum(len(text.encode()) for text in CORPUS.values()) / (meta.train.tokens + meta.val.tokens)
    assert metrics["bytes_per_token"] == pytest.approx(bytes_per_token)


def test_bpe_learns_from_the_training_split_alone(tmp_path: Path) -> None:
    run_stage_here("tokenize", workspace(tmp_path))
    before, val = (tmp_path / "data/tokens/tokenizer.json").read_bytes(), texts(tmp_path, list(CORPUS))["val"]
    assert read_meta(tmp_path / "data/tokens").vocab_size == 300
    only_training = {title: text for title, text in CORPUS.items() if (title, text) not in val}
    (tmp_path / "b").mkdir()
    # a one-byte tail keeps all training documents whole and in the same order
    tail = 0.5 / sum(len(text.encode()) for text in only_training.values())
    run_stage_here(
        "tokenize", workspace(tmp_path / "b", {**only_training, "end": "x"}, val_split="tail", val_fraction=tail)
    )
    assert (tmp_path / "b/data/tokens/tokenizer.json").read_bytes() == before


def test_running_again_writes_the_same_bytes(tmp_path: Path) -> None:
    run_stage_here("tokenize", workspace(tmp_path))
    first = files(tmp_path)
    run_stage_here("tokenize", tmp_path)
    assert files(tmp_path) == first
    names = {"meta.json", "tokenizer.json", "metrics.json", "document_lengths.png"}
    assert set(first) == names | {f"{split}.{end}" for split in ("train", "val") for end in ("bin", "index.npy")}
    assert first["document_lengths.png"].startswith(b"\x89PNG")


def test_a_third_split_for_a_test(tmp_path: Path) -> None:
    assert run_stage_here("tokenize", workspace(tmp_path, tokenizer="byte", test_fraction=0.3)) == 0
    found = texts(tmp_path, list(CORPUS))
    assert sorted(chain(*found.values())) == sorted(CORPUS.items())
    assert all(found.values())
    assert json.loads((tmp_path / "data/tokens/metrics.json").read_text())["test_documents"] == len(found["test"])
    verify_tokens(tmp_path / "data/tokens")


LARGE = {f"{i}": prose(i, 300 + 9_000 * (i % 7 == 3)) for i in range(60)}


@pytest.mark.parametrize(("val_split", "workers"), [("documents", "2"), ("tail", "1")])
def test_the_same_bytes_from_pieces_of_any_size(
    val_split: str, workers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPTCORE_WORKERS", workers)
    sections = {"tokenizer": "bpe", "val_split": val_split, "test_fraction": 0.1, "seed": 4}
    run_stage_here("tokenize", workspace(tmp_path / "whole", LARGE, **sections))
    monkeypatch.setattr(gptcore.tokens.pieces.pieces, "__defaults__", (10_000,))
    run_stage_here("tokenize", workspace(tmp_path / "pieces", LARGE, **sections))
    assert files(tmp_path / "pieces") == files(tmp_path / "whole")
    if val_split == "tail":
        found = texts(tmp_path / "pieces", list(LARGE))
        assert "".join(text for _, text in chain(*found.values())) == "".join(LARGE.values())


def huge(root: Path, **changes: Any) -> Path:
    """Ten pieces of the real size."""
    paragraph = prose(1, 50_000)
    return workspace(root, {f"{i}": f"{i} {paragraph}" for i in range(600)}, tokenizer="byte", **changes)


def test_killed_and_started_again_in_another_clone_the_bytes_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPTCORE_WORKERS", "1")
    assert run_stage_here("tokenize", huge(tmp_path / "one")) == 0
    root = huge(tmp_path / "killed")
    process = start_stage("tokenize", root, GPTCORE_WORKERS="2")
    scratch = root / "data/scratch/tokenize"
    wait_for(lambda: len(list(scratch.glob("*/*.npz"))) >= 3 and list((root / "data").glob(".tokens.*.tmp")))
    workers = children(process.pid)
    process.kill()
    process.communicate()
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    assert not (root / "data/tokens").exists()
    kept = {path: path.stat().st_mtime_ns for path in scratch.glob("*/*.npz")}
    damaged = max(kept, key=lambda path: path.stat().st_size)
    damaged.write_bytes(damaged.read_bytes()[:-1000])
    made = {path: path.stat().st_mtime_ns for path in kept}
    root = huge(tmp_path / "clone")
    (root / "data/scratch").mkdir()
    (root / "data/scratch/tokenize").symlink_to(scratch)
    again = start_stage("tokenize", root, GPTCORE_WORKERS="3")
    wait_for(lambda: (damaged.exists() and damaged.stat().st_mtime_ns != made[damaged]) or again.poll() is not None)
    assert again.wait(PATIENCE) == 0, again.communicate()
    again.communicate()
    assert files(root) == files(tmp_path / "one")
    assert sorted(path.name for path in (root / "data").iterdir()) == ["raw", "scratch", "tokens"]
    assert not list(scratch.iterdir())


def test_the_last_of_two_that_make_the_same_pieces_removes_them(tmp_path: Path) -> None:
    with shared_folder(tmp_path / "pieces"):
        with shared_folder(tmp_path / "pieces"):
            (tmp_path / "pieces/1.npz").touch()
        assert (tmp_path / "pieces/1.npz").exists()
        with pytest.raises(UserError), shared_folder(tmp_path / "pieces"):
            raise UserError("it failed")
    assert not (tmp_path / "pieces").exists()
    with pytest.raises(UserError), shared_folder(tmp_path / "pieces"):
        raise UserError("it failed")
    assert (tmp_path / "pieces").exists()


def test_pieces_that_are_there_are_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gptcore.tokens.pieces.pieces, "__defaults__", (2_000,))
    root = workspace(tmp_path)
    with Workers() as workers:
        plan = make_plan(TokenizeConfig(**{**TOKENIZE, **BPE}), Paths(root), workers)
    plan.save_tokenizer()
    made = [encode_piece(job) for job in plan.jobs[:-1]]
    times = [path.stat().st_mtime_ns for path in made]
    assert [encode_piece(job) for job in plan.jobs[:-1]] == made
    assert [path.stat().st_mtime_ns for path in made] == times
    assert encode_piece(plan.jobs[-1]) not in made
    with (root / "data/raw/documents.jsonl").open("r+b") as file:
        file.seek(40)
        file.write(b"X")
    assert encode_piece(plan.jobs[0]) not in made, "another text has another name"


def test_other_tokens_from_the_fast_encoder_end_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = FastEncoder.encode
    monkeypatch.setattr(FastEncoder, "encode", lambda encoder, text: right(encoder, text.replace(b"9", b"8")))
    assert run_stage_here("tokenize", workspace(tmp_path)) == 2
    error = capsys.readouterr().err
    assert "document 'Sonnet 9': gigatoken gives other bpe tokens than tiktoken; install the versions of" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "data/tokens").exists()


def test_a_worker_that_is_killed_costs_a_retry(tmp_path: Path) -> None:
    process = start_stage("tokenize", huge(tmp_path), GPTCORE_WORKERS="2")
    wait_for(lambda: list((tmp_path / "data/scratch").glob("tokenize/*/*.npz")))
    os.kill(children(process.pid)[-1], signal.SIGKILL)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 69
    assert "error: tokenize: a worker was killed, perhaps for want of memory; run it again and it goes on" in output


def test_bad_workers_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GPTCORE_WORKERS", "many")
    assert run_stage_here("tokenize", workspace(tmp_path)) == 2
    said = capsys.readouterr()
    assert "GPTCORE_WORKERS=many: " in said.err and (said.out + said.err).count("\n") == 1


def test_the_sample_that_a_bpe_learns_from(tmp_path: Path) -> None:
    run_stage_here("tokenize", workspace(tmp_path / "all", LARGE))
    run_stage_here("tokenize", workspace(tmp_path / "some", LARGE, sample_bytes=20_000))
    assert files(tmp_path / "all")["tokenizer.json"] != files(tmp_path / "some")["tokenizer.json"]


def test_nanogpts_batches_come_from_our_files(tmp_path: Path) -> None:
    """Its train.py needs only a flat file of 16-bit ids, from which it reads rows at random places."""
    run_stage_here("tokenize", workspace(tmp_path))
    data = np.memmap(tmp_path / "data/tokens/train.bin", dtype=np.uint16, mode="r")
    assert len(data) == read_meta(tmp_path / "data/tokens").train.tokens
    tokenizer, text = Tokenizer.load(tmp_path / "data/tokens/tokenizer.json"), "".join(CORPUS.values())
    for start in np.random.default_rng(0).integers(0, len(data) - 9, 20):
        row = data[start : start + 8].astype(np.int64)
        assert row.max() < tokenizer.n_vocab
        assert all(part in text for part in tokenizer.decode(row.tolist()).replace("\ufffd", "").split("<|endoftext|>"))


def test_one_document_needs_the_tail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "".join(CORPUS.values())
    assert run_stage_here("tokenize", workspace(tmp_path, {"all": text})) == 2
    assert "set tokenize.val_split=tail" in capsys.readouterr().err
    assert not (tmp_path / "data/tokens").exists()
    assert run_stage_here("tokenize", with_params(tmp_path, val_split="tail")) == 0
    [(_, head)], [(_, tail)], _ = texts(tmp_path, ["all"]).values()
    assert head + tail == text
    assert len(tail.encode()) == pytest.approx(0.2 * len(text.encode()), abs=2)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"vocab_size": 5000}, "the training text yields"),
        ({"tokenizer": "gpt2"}, "gpt2.tiktoken is missing; the download stage fetches it"),
        ({"tokenizer": "sentencepiece"}, "sentencepiece.model is missing; the download stage fetches it"),
        ({"tokenizer": "words"}, "tokenize.tokenizer: input should be 'bpe', 'gpt2', 'cl100k_base', "),
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
    assert {path.name for path in (tmp_path / "data").iterdir()} <= {"raw", "scratch"}


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    """On a separate 1 MiB file system, which needs no root where user namespaces are allowed."""
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
    assert f"{disk}/data/tokens" not in ran.stdout
    assert ".tmp" not in ran.stdout


def test_the_advice_for_a_damaged_file_mends_it_under_dvc(tmp_path: Path) -> None:
    """Damage that DVC does not detect: a file linked to DVC's cache changes its content, but not its time and mode."""
    workspace(tmp_path, tokenizer="byte")
    stage = {"cmd": f"{sys.executable} -m gptcore.stages.tokenize", "params": ["tokenize"], "outs": ["data/tokens"]}
    write_json(tmp_path / "dvc.yaml", {"stages": {"tokenize": stage}})
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(REPOSITORY), "DVC_NO_ANALYTICS": "1"}

    def shell(command: str) -> None:
        subprocess.run(command, shell=True, check=True, cwd=tmp_path, env=environment, capture_output=True)

    for words in (["init", "--no-scm"], ["config", "cache.type", "hardlink"], ["repro"]):
        scratch.dvc(tmp_path, *words)
    damaged = tmp_path / "data/tokens/train.bin"
    before, raw = damaged.stat(), damaged.read_bytes()
    damaged.chmod(0o644)
    with damaged.open("r+b") as file:
        file.write(bytes([raw[0] ^ 1]))
    os.utime(damaged, ns=(before.st_atime_ns, before.st_mtime_ns))
    damaged.chmod(before.st_mode)
    with pytest.raises(UserError, match=r"train.bin is damaged") as error:
        verify_tokens(tmp_path / "data/tokens")
    shell(str(error.value).split("`")[1])
    verify_tokens(tmp_path / "data/tokens")
    assert damaged.read_bytes() == raw


def test_a_corpus_damaged_since_its_download_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = workspace(tmp_path)
    corpus = root / "data/raw/documents.jsonl"
    (root / "data/raw" / SUMS).write_text(sha256sums(root / "data/raw"))
    assert run_stage_here("tokenize", root) == 0
    corpus.write_bytes(corpus.read_bytes().replace(b"thee", b"theo"))
    assert run_stage_here("tokenize", root) == 2
    assert f"{corpus} is damaged: its sha256 is " in capsys.readouterr().err
