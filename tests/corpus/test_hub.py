"""Data sets by name, from a hub on loopback, through the real `datasets` library."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from tests.corpus.test_sources import config
from tests.support.engine import REPOSITORY
from tests.support.hub import Hub, serve_hub
from tests.support.scratch import wait_until

COMMIT = "0123456789abcdef0123456789abcdef01234567"
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
READ = """
import json, sys
from pathlib import Path
from gptcore.corpus import hub, transfer
from gptcore.corpus.corpus import Corpus, DataConfig
from gptcore.errors import UserError
hub.PIECE_BYTES, transfer.RETRY_WAITS_SECONDS = 2000, (0.01,)
for data in json.loads(sys.argv[1]):
    try:
        corpus = Corpus(DataConfig.model_validate_json(json.dumps(data)), Path("."), Path("scratch"))
        answer = [document.text for document in corpus.documents()]
    except UserError as error:
        answer = f"{type(error).__name__}: {error}"
    print("answer", json.dumps(answer), flush=True)
"""
STREAM = """
import itertools, json, sys
from pathlib import Path
from gptcore.corpus.corpus import Corpus, DataConfig
from gptcore.errors import UserError
from gptcore.config.paths import Paths
from gptcore.corpus.stream import Stream, files_sha256, streamed_files, write_stream
root, data = Path("."), DataConfig.model_validate_json(sys.argv[1])
corpus = Corpus(data, root, root / "scratch")
try:
    files = streamed_files(corpus)
    head = [document.text for document in corpus.documents()]
    write_stream(root / "stream.json", corpus, files)
    stream = Stream(root / "stream.json", Paths(root))
    rest = [text for _, text in itertools.islice(stream.documents(stream.start), int(sys.argv[2]))]
    print(json.dumps({"head": head, "rest": rest, "files": [each.address for each in files]}))
except UserError as error:
    print(json.dumps(f"{type(error).__name__}: {error}"))
"""
SOURCE = f"hf://owner/name/en?revision={COMMIT}"
QUERIES = [row["query"] for row in ROWS]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with the data set owner/name: two Parquet files, listed in its card."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "en").mkdir()
    (folder / "README.md").write_text(CARD)
    for number, rows in enumerate((ROWS[:150], ROWS[150:])):
        path = folder / "en" / f"train-{number:05}-of-00002.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=50)
    with serve_hub(Hub({"owner/name": folder}, COMMIT)) as hub:
        yield hub


def start(root: Path, hub: Hub, *data: dict[str, Any]) -> "subprocess.Popen[str]":
    """Use a separate process: datasets and the hub's client read the environment at import."""
    asked = json.dumps([config(**each).model_dump(mode="json") for each in data])
    return run(root, hub, READ, asked)


def run(root: Path, hub: Hub, *code: str, **settings: str) -> "subprocess.Popen[str]":
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(root / "home"),
        "PYTHONPATH": str(REPOSITORY),
        **settings,
    }
    return subprocess.Popen(
        [sys.executable, "-c", *code], cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def ask(root: Path, hub: Hub, *data: dict[str, Any]) -> list[Any]:
    """The texts of each data set, or the error."""
    output, trouble = start(root, hub, *data).communicate(timeout=120)
    answers = [json.loads(line.removeprefix("answer ")) for line in output.splitlines() if line.startswith("answer ")]
    assert len(answers) == len(data), trouble
    return answers


def kept(root: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (root / "scratch").glob("*.file")}


def test_a_template_and_a_language_of_a_data_set(hub: Hub, tmp_path: Path) -> None:
    data = {"source": "hf://owner/name/en", "text": "{query}\n{answer.text}", "languages": ["en"]}
    hub.faults = ["cut", 503]
    [found] = ask(tmp_path, hub, data)
    assert found == [f"{row['query']}\n{row['answer']['text']}" for row in ROWS if row["language"] == "en"]
    hub.requests = []
    assert ask(tmp_path, hub, data) == [found]
    assert not hub.requests, "the commit is held and all pieces are kept"


def test_no_more_is_asked_for_than_a_limit_needs(hub: Hub, tmp_path: Path) -> None:
    hub.requests = []
    assert ask(tmp_path, hub, {"source": SOURCE, "text": "query", "max_documents": 3}) == [QUERIES[:3]]
    assert len(kept(tmp_path)) == 1
    assert not any("train-00001" in request for request in hub.requests)


@pytest.mark.load
def test_a_killed_download_goes_on(hub: Hub, tmp_path: Path) -> None:
    process = start(tmp_path, hub, {"source": SOURCE, "text": "query"})
    try:
        wait_until(lambda: bool(kept(tmp_path)))
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    before = kept(tmp_path)
    assert ask(tmp_path, hub, {"source": SOURCE, "text": "query"}) == [QUERIES]
    assert before.items() <= kept(tmp_path).items(), "what had come did not come again"


def stream(root: Path, hub: Hub, source: str, count: int = 0, **settings: str) -> Any:
    """The stored head, the next `count` streamed documents and the file URLs; or the error."""
    data = config(source=source, text="query", mode="stream", max_documents=7)
    output, trouble = run(root, hub, STREAM, data.model_dump_json(), str(count), **settings).communicate(timeout=120)
    assert output, trouble
    return json.loads(output.splitlines()[-1])


def test_a_data_set_is_streamed_as_the_files_of_its_commit(hub: Hub, tmp_path: Path) -> None:
    hub.authorizations.clear()
    found = stream(tmp_path, hub, SOURCE, 400, HF_TOKEN="hf_secret")
    assert found["head"] == QUERIES[:7]
    assert found["rest"] == (QUERIES[7:] * 2)[:400]
    folder = f"{hub.address}/datasets/owner/name/resolve/{COMMIT}/en"
    assert found["files"] == [f"{folder}/train-{number:05}-of-00002.parquet" for number in range(2)]
    assert hub.authorizations == {"Bearer hf_secret"}


def test_a_stream_of_a_data_set_needs_a_commit(hub: Hub, tmp_path: Path) -> None:
    said = (
        f"UserError: hf://owner/name/en moves on, and a stream must be pinned: give it a commit, now revision={COMMIT}"
    )
    assert stream(tmp_path, hub, "hf://owner/name/en") == said
    assert stream(tmp_path, hub, f"hf://owner/name/en?split=val&revision={COMMIT}").startswith(
        "UserError: hf://owner/name"
    )


def test_what_the_hub_has_not(hub: Hub, tmp_path: Path) -> None:
    lines = {
        "hf://owner/none": "UserError: hf://owner/none: the hub has no such data set, or it is private",
        "hf://owner/name/fr": "UserError: hf://owner/name: BuilderConfig 'fr' not found",
        "hf://owner/name/en?split=val": "UserError: hf://owner/name: Bad split: val",
        f"hf://owner/name/en?revision={'f' * 40}": "UserError: hf://owner/name has no revision ffff",
        "hf://owner/name/en": "UserError: hf://owner/name: has no field text; it has query, answer, language",
    }
    answers = ask(tmp_path, hub, *({"source": source} for source in lines))
    for answer, line in zip(answers, lines.values(), strict=True):
        assert answer.startswith(line) and "\n" not in answer


def test_no_hub(tmp_path: Path) -> None:
    [answer] = ask(tmp_path, Hub({}, COMMIT), {"source": SOURCE})
    assert answer.startswith("Unavailable: hf://owner/name cannot be read")
