"""The stage as DVC runs it, against a package index on loopback."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gptcore.corpus.transfer
import gptcore.corpus.vocabulary
from gptcore.files import read_json, write_json
from tests.support.engine import DATA, TOKENIZE, run_stage, run_stage_here
from tests.support.package_index import PackageIndex, serve, source_distribution
from tests.support.web import Web
from tests.support.web import serve as serve_web

LEAR, HAMLET = "KING LEAR\n\nNothing will come of nothing.\n", "HAMLET\n\nTo be, or not to be.\n"
SHA256 = hashlib.sha256((HAMLET + LEAR).encode()).hexdigest()
METADATA = "[lear_gut]\ntitle = King Lear\nnotes = 100% his\n\n[other]\ntitle = Other\n"
PLAYS = source_distribution(
    "plays-1.0",
    {"data/lear_gut.txt": LEAR, "data/metadata.txt": METADATA, "data/hamlet_gut.txt": HAMLET, "data/hamlet_f.txt": "?"},
)
RANKS = b"IQ== 0\nIg== 1\n"
WHISPER = source_distribution("openai_whisper-20250625", {"whisper/assets/gpt2.tiktoken": RANKS})


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    monkeypatch.setattr(gptcore.corpus.transfer, "RETRY_WAITS_SECONDS", (0.01, 0.01))
    with serve(PackageIndex({"plays-1.0.tar.gz": PLAYS, "openai_whisper-20250625.tar.gz": WHISPER})) as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.endpoint)
        yield index


def workspace(root: Path, tokenizer: str = "bpe", **data: Any) -> Path:
    section = {**DATA, "source": "package://plays/1.0/data/*_gut.txt", "sha256": SHA256, **data}
    write_json(root / "params.yaml", {"data": section, "tokenize": {**TOKENIZE, "tokenizer": tokenizer}})
    return root


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


def documents(root: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (root / "data/raw/documents.jsonl").read_text().splitlines()]


def test_documents_of_a_package_with_their_titles(index: PackageIndex, tmp_path: Path) -> None:
    assert run_stage_here("download", workspace(tmp_path)) == 0
    assert documents(tmp_path) == [{"title": "HAMLET", "text": HAMLET}, {"title": "King Lear", "text": LEAR}]
    metrics = json.loads((tmp_path / "data/raw/metrics.json").read_text())
    assert (metrics["documents"], metrics["bytes"]) == (2, len(HAMLET + LEAR))
    made = {path.name for path in (tmp_path / "data/raw").iterdir()}
    assert made == {"documents.jsonl", "sources.json", "SHA256SUMS", "metrics.json"}


def test_a_text_not_pinned_is_refused_until_its_sha256_is_pasted(
    index: PackageIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_stage_here("download", workspace(tmp_path, sha256="0" * 64)) == 2
    assert f"has the sha256 {SHA256}, not 000" in error_of(capsys)
    assert not list((tmp_path / "data/raw").iterdir())
    index.faults = [503] * 9
    assert run_stage_here("download", workspace(tmp_path)) == 0, "the archive was kept, so no network is needed"


def test_an_address(index: PackageIndex, tmp_path: Path) -> None:
    index.files["input.txt"] = HAMLET.encode()
    sha256 = hashlib.sha256(HAMLET.encode()).hexdigest()
    assert run_stage_here("download", workspace(tmp_path, source=index.url("input.txt"), sha256=sha256)) == 0
    assert documents(tmp_path) == [{"title": "HAMLET", "text": HAMLET}]


def test_a_new_pin_fetches_what_has_changed_since(tmp_path: Path) -> None:
    with serve_web(Web({"a.txt": HAMLET.encode(), "b.txt": LEAR.encode()})) as web:
        source = [web.url("a.txt"), web.url("b.txt")]
        assert run_stage_here("download", workspace(tmp_path, source=source, sha256=SHA256)) == 0
        web.files["b.txt"] = b"SONNETS\n"
        assert run_stage_here("download", workspace(tmp_path, source=source, sha256=SHA256)) == 0, "it was kept"
        new = hashlib.sha256(HAMLET.encode() + b"SONNETS\n").hexdigest()
        assert run_stage_here("download", workspace(tmp_path, source=source, sha256=new)) == 0
        assert [each["text"] for each in documents(tmp_path)] == [HAMLET, "SONNETS\n"]
        assert [file["address"] for file in read_json(tmp_path / "data/raw/sources.json")["files"]] == source


def test_the_vocabulary_of_gpt2_comes_only_when_it_is_asked_for(
    index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_stage_here("download", workspace(tmp_path, tokenizer="gpt2")) == 2
    assert "gpt2.tiktoken of openai-whisper 20250625 has the sha256" in error_of(capsys)
    known = gptcore.corpus.vocabulary.SOURCES["gpt2"]._replace(sha256=hashlib.sha256(RANKS).hexdigest())
    monkeypatch.setitem(gptcore.corpus.vocabulary.SOURCES, "gpt2", known)
    assert run_stage_here("download", workspace(tmp_path, tokenizer="gpt2")) == 0
    assert (tmp_path / "data/raw/gpt2.tiktoken").read_bytes() == RANKS


def test_a_pattern_that_finds_nothing(index: PackageIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_stage_here("download", workspace(tmp_path, source="package://plays/1.0/data/*.md")) == 2
    assert "the source distribution of plays 1.0 has no files data/*.md" in error_of(capsys)


def test_no_package_index(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(PackageIndex({})) as gone:
        pass
    monkeypatch.setattr(gptcore.corpus.transfer, "RETRY_WAITS_SECONDS", (0.01,))
    monkeypatch.setenv("PIP_INDEX_URL", gone.endpoint)
    assert run_stage_here("download", workspace(tmp_path)) == 69, "worth another try"
    assert "error: download: the package index http://127.0.0.1" in error_of(capsys)
    assert not list((tmp_path / "data/raw").rglob("*.*"))


def test_the_command_that_dvc_runs(tmp_path: Path) -> None:
    (tmp_path / "hamlet.txt").write_text(HAMLET)
    sha256 = hashlib.sha256(HAMLET.encode()).hexdigest()
    assert run_stage("download", workspace(tmp_path, source="hamlet.txt", sha256=sha256)) == (0, "")
    assert documents(tmp_path) == [{"title": "HAMLET", "text": HAMLET}]
    code, output = run_stage("download", workspace(tmp_path, source="hamlet.txt", sha256="none"))
    assert (code, output.count("\n")) == (2, 1)
    assert "data.sha256" in output


def test_it_says_that_records_are_prompts_with_responses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "qa.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    assert run_stage_here("download", workspace(tmp_path, source="qa.jsonl", sha256="")) == 0
    assert "the records are prompts with responses" in capsys.readouterr().out
    found = read_json(tmp_path / "data/raw/sources.json")["text_sha256"]
    said = workspace(tmp_path, source="qa.jsonl", sha256=found, pairs=True)
    assert run_stage_here("download", said) == 0, "data.pairs=true is the same corpus"
    assert "the records are" not in capsys.readouterr().out
