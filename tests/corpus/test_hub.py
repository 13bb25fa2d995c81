"""Data sets by name, from a hub on loopback, through the real `datasets` library."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from tests.corpus.test_sources import config
from tests.support.benchmarks import write_rows
from tests.support.engine import REPOSITORY
from tests.support.hub import COMMIT, Hub, serve_hub
from tests.support.scratch import wait_until

CARD = """---
configs:
- config_name: en
  data_files:
  - split: train
    path: en/train-*
---
"""
ROWS = [
    {"query": f"Question {n}?", "answer": {"text": f"Answer {n}."}, "language": "en" if n % 2 else "fr"}
    for n in range(300)
]
READER = """
import itertools, json, os, sys
from pathlib import Path
import aiohttp, datasets, scipy.sparse, torch
from gptcore.config.paths import Paths
from gptcore.corpus import hub, transfer
from gptcore.corpus.corpus import Corpus, DataConfig
from gptcore.corpus.stream import Stream, streamed_files, write_stream
from gptcore.errors import UserError
hub.PIECE_BYTES, transfer.RETRY_WAITS_SECONDS = 2000, (0.01,)
def read(data, streamed):
    corpus = Corpus(DataConfig.model_validate_json(json.dumps(data)), Path("."), Path("scratch"))
    if streamed is None:
        return [document.text for document in corpus.documents()]
    files = streamed_files(corpus)
    head = [document.text for document in corpus.documents()]
    write_stream(Path("stream.json"), corpus, files)
    stream = Stream(Path("stream.json"), Paths(Path(".")))
    rest = [text for _, text in itertools.islice(stream.documents(stream.start), streamed)]
    return {"head": head, "rest": rest, "files": [each.address for each in files]}
for line in sys.stdin:
    root, environment, *asked = json.loads(line)
    if os.fork() == 0:
        os.chdir(root)
        os.environ |= environment
        try:
            answer = read(*asked)
        except UserError as error:
            answer = f"{type(error).__name__}: {error}"
        print("answer", json.dumps(answer), flush=True)
        os._exit(0)
    if os.wait()[1]:
        print("answer null", flush=True)
"""
SOURCE = f"hf://owner/name/en?revision={COMMIT}"
QUERIES = [row["query"] for row in ROWS]
TALK = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
OTHERS: dict[str, list[dict[str, Any]]] = {  # data sets of one file each
    "talks": [{"id": 1, "messages": TALK}, {"id": 2, "messages": [{"role": "system", "content": "Be brief."}, *TALK]}],
    "lines": [{"prompt": "a", "completion": "c", "n": 1}, {"prompt": "", "completion": "d", "n": 2}],
    "texts": [{"prompt": "a", "completion": "c", "text": "t"}],
}


class Reader:
    """A process that has imported `datasets` and what that imports as it reads, and forks another for each data set.

    The hub's client reads the address of the hub at import.
    """

    def __init__(self, home: Path, address: str) -> None:
        environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(home), "PYTHONPATH": str(REPOSITORY)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", READER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def send(self, root: Path, data: dict[str, Any], streamed: int | None = None, **settings: str) -> None:
        asked = [str(root), settings, config(**data).model_dump(mode="json"), streamed]
        assert self.process.stdin
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()

    def ask(self, root: Path, data: dict[str, Any], streamed: int | None = None, **settings: str) -> Any:
        """The texts of a data set; the kept head, the next `streamed` texts and the files' URLs; or the error."""
        self.send(root, data, streamed, **settings)
        assert self.process.stdout
        said = next(line for line in self.process.stdout if line.startswith("answer "))  # not of a retry
        answer = json.loads(said.removeprefix("answer "))
        assert answer is not None
        return answer

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@contextmanager
def reading(home: Path, address: str) -> Iterator[Reader]:
    reader = Reader(home, address)
    try:
        yield reader
    finally:
        reader.kill()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with the data set owner/name: two Parquet files, listed in its card."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "en").mkdir()
    (folder / "README.md").write_text(CARD)
    for number, rows in enumerate((ROWS[:150], ROWS[150:])):
        path = folder / "en" / f"train-{number:05}-of-00002.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=50)
    others = {name: tmp_path_factory.mktemp(name) for name in OTHERS}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(OTHERS["talks"]), others["talks"] / "train.parquet")
    for name in ("lines", "texts"):  # their columns are not known before a row is read
        write_rows(others[name] / "train.jsonl", OTHERS[name])
    repositories = {"owner/name": folder, **{f"owner/{name}": each for name, each in others.items()}}
    with serve_hub(Hub(repositories, COMMIT)) as hub:
        yield hub


@pytest.fixture(scope="module")
def reader(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with reading(tmp_path_factory.mktemp("home"), hub.address) as reader:
        yield reader


def kept(root: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (root / "scratch").glob("*.file")}


def test_a_first_row_says_that_a_data_set_is_prompts_with_responses(hub: Hub, reader: Reader, tmp_path: Path) -> None:
    """Those with a text are read as text."""
    read = {each: reader.ask(tmp_path, {"source": f"hf://owner/{each}"}) for each in ("talks", "lines", "texts")}
    assert read == {"talks": ["HiHello", "Be brief.\n\nHiHello"], "lines": ["ac", "d"], "texts": ["t"]}
    answer = reader.ask(tmp_path, {"source": "hf://owner/talks", "text": "content"})
    assert answer.startswith("UserError: hf://owner/talks") and "record 1: has no field content; it has id, " in answer


def test_a_template_and_a_language_of_a_data_set(hub: Hub, reader: Reader, tmp_path: Path) -> None:
    data = {"source": "hf://owner/name/en", "text": "{query}\n{answer.text}", "languages": ["en"]}
    hub.faults = ["cut", 503]
    found = reader.ask(tmp_path, data)
    assert found == [f"{row['query']}\n{row['answer']['text']}" for row in ROWS if row["language"] == "en"]
    hub.requests = []
    assert reader.ask(tmp_path, data) == found
    assert not hub.requests, "the commit is held and all pieces are kept"


def test_no_more_is_asked_for_than_a_limit_needs(hub: Hub, reader: Reader, tmp_path: Path) -> None:
    hub.requests = []
    assert reader.ask(tmp_path, {"source": SOURCE, "text": "query", "max_documents": 3}) == QUERIES[:3]
    assert len(kept(tmp_path)) == 1
    assert not any("train-00001" in request for request in hub.requests)


@pytest.mark.load
def test_a_killed_download_goes_on(hub: Hub, reader: Reader, tmp_path: Path) -> None:
    data = {"source": SOURCE, "text": "query"}
    with reading(tmp_path / "home", hub.address) as killed:
        killed.send(tmp_path, data)
        wait_until(lambda: len(kept(tmp_path)) > 1)
    before = kept(tmp_path)
    del before[max(before, key=before.__getitem__)]  # the last may lack its record
    assert reader.ask(tmp_path, data) == QUERIES
    assert before.items() <= kept(tmp_path).items(), "what had come did not come again"


def stream_of(source: str) -> dict[str, Any]:
    return {"source": source, "text": "query", "mode": "stream", "max_documents": 7}


def test_a_data_set_is_streamed_as_the_files_of_its_commit(hub: Hub, reader: Reader, tmp_path: Path) -> None:
    hub.authorizations.clear()
    found = reader.ask(tmp_path, stream_of(SOURCE), 400, HF_TOKEN="hf_secret")
    assert found["head"] == QUERIES[:7]
    assert found["rest"] == (QUERIES[7:] * 2)[:400]
    folder = f"{hub.address}/datasets/owner/name/resolve/{COMMIT}/en"
    assert found["files"] == [f"{folder}/train-{number:05}-of-00002.parquet" for number in range(2)]
    assert hub.authorizations == {"Bearer hf_secret"}


def test_a_stream_of_a_data_set_needs_a_commit(reader: Reader, tmp_path: Path) -> None:
    said = (
        f"UserError: hf://owner/name/en moves on, and a stream must be pinned: give it a commit, now revision={COMMIT}"
    )
    assert reader.ask(tmp_path, stream_of("hf://owner/name/en"), 0) == said
    refused = reader.ask(tmp_path, stream_of(f"hf://owner/name/en?split=val&revision={COMMIT}"), 0)
    assert refused.startswith("UserError: hf://owner/name")


def test_what_the_hub_has_not(reader: Reader, tmp_path: Path) -> None:
    lines = {
        "hf://owner/none": "UserError: hf://owner/none: the hub has no such data set, or it is private",
        "hf://owner/name/fr": "UserError: hf://owner/name: BuilderConfig 'fr' not found",
        "hf://owner/name/en?split=val": "UserError: hf://owner/name: Bad split: val",
        f"hf://owner/name/en?revision={'f' * 40}": "UserError: hf://owner/name has no revision ffff",
        "hf://owner/name/en": "UserError: hf://owner/name: has no field text; it has query, answer, language",
    }
    for source, line in lines.items():
        answer = reader.ask(tmp_path, {"source": source})
        assert answer.startswith(line) and "\n" not in answer


def test_no_hub(reader: Reader, tmp_path: Path) -> None:
    away = {"source": f"hf://owner/away/en?revision={COMMIT}"}  # of the other data set, all is in the cache
    answer = reader.ask(tmp_path, away, HTTP_PROXY="http://127.0.0.1:9", NO_PROXY="", no_proxy="")
    assert answer.startswith("Unavailable: hf://owner/away cannot be read")
