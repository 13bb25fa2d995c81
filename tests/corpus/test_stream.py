"""Training directly from a source: pinned, in constant memory, and resumed exactly after a kill."""

import csv
import gzip
import hashlib
import io
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from gptcore.closure import code_sha256
from gptcore.config.paths import Paths
from gptcore.corpus.documents import read_documents
from gptcore.corpus.stream import Place, Stream
from gptcore.errors import UserError
from gptcore.files import read_json, write_json
from gptcore.tokens.make_tokenizer import byte_tokenizer
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.training.batches import AHEAD
from gptcore.training.stream_batches import KEPT_PLACES, StreamBatches
from tests.support.engine import CURVE, DATA, MODERN, MUON, TOKENIZE, TRAIN, make_workspace, run_stage, run_stage_here
from tests.support.s3 import BUCKET, s3_server
from tests.support.web import Web, serve
from tests.training.test_resume import assert_same, finish, last_step, pause_when, start

WORDS = ("the", "king", "queen", "and", "his", "fool", "her", "sword", "my", "lord", "love", "is", "dead", "alas", "no")
HEAD = 6  # documents kept for validation and the tokenizer
HALF = {**TOKENIZE, "val_fraction": 0.5}


def texts() -> list[str]:
    rng = random.Random(5)
    return [f"{number}: " + " ".join(rng.choices(WORDS, k=rng.randint(5, 120))) for number in range(80)]


def files() -> dict[str, bytes]:
    """The texts in order, in three files of different formats."""
    table = io.BytesIO()
    pq.write_table(pa.table({"text": texts()[40:]}), table, row_group_size=7)
    jsonl = ["".join(json.dumps({"text": text}) + "\n" for text in part) for part in (texts()[:15], texts()[15:40])]
    return {"1.jsonl": jsonl[0].encode(), "2.jsonl.gz": gzip.compress(jsonl[1].encode()), "3.parquet": table.getvalue()}


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with serve(Web(files())) as web:
        yield web


@pytest.fixture(scope="module")
def source(web: Web) -> list[str]:
    return [web.url(name) for name in web.files]


def workspace(root: Path, source: Any, **params: Any) -> Path:
    """A workspace with the documents and tokens of a stream's head; the stream is pinned to its current version."""
    data = {**DATA, "source": source, "mode": "stream", "max_documents": HEAD, "shuffle_tokens": 2000}
    optim = {**MUON, "cooldown_fraction": 0.0}
    sections = {"data": data, "tokenize": HALF, "train": {**TRAIN, "steps": 120}, "optim": optim,
                "model": {**MODERN, "dropout": 0.1}, "curve": {**CURVE, "points": 25}}  # fmt: skip
    make_workspace(root, **{**sections, **params})
    with pytest.MonkeyPatch.context() as monkeypatch:
        said = io.StringIO()
        monkeypatch.setattr("sys.stderr", said)
        assert run_stage_here("download", root) == 2
    (pin,) = re.findall(r"are not pinned, and a stream's must be: .* sha256 (\w+); .* set data.sha256", said.getvalue())
    params_file = read_json(root / "params.yaml")
    params_file["data"]["sha256"] = pin
    write_json(root / "params.yaml", params_file)
    assert run_stage_here("download", root) == 0
    assert run_stage_here("tokenize", root) == 0
    return root


@pytest.fixture(scope="module")
def root(source: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return workspace(tmp_path_factory.mktemp("stream"), source)


def opened(root: Path) -> Stream:
    return Stream(root / "data/tokens/stream.json", Paths(root))


def some(iterator: Iterator[Any], count: int) -> list[Any]:
    return [next(iterator) for _ in range(count)]


def test_the_head_is_kept_and_the_stream_is_the_rest_again_and_again(root: Path) -> None:
    head = [each.text for each in read_documents(root / "data/raw/documents.jsonl")]
    assert head == texts()[:HEAD]
    ours = opened(root)
    streamed = some(ours.documents(ours.start), 2 * (80 - HEAD))
    assert [text for _, text in streamed] == texts()[HEAD:] * 2
    for place, _ in streamed[::29]:
        assert some(opened(root).documents(place), 80)[0][0] == place
    place = Place(1, 20)
    assert [text for _, text in some(ours.documents(place), 50)] == (texts()[35:] + texts()[HEAD:])[:50]


def batches(root: Path, **changes: Any) -> StreamBatches:
    values = {"block_size": 16, "batch_size": 4, "order": "epochs", "seed": 3, "shuffle_tokens": 2000, **changes}
    return StreamBatches(opened(root), Tokenizer.load(root / "data/tokens/tokenizer.json"), **values)


def test_windows_of_a_block_are_shuffled_and_each_is_seen_once(root: Path) -> None:
    ours = batches(root)
    assert ours.steps == 31
    tokenizer, tokens = byte_tokenizer(), list[int]()
    for text in texts()[HEAD:]:
        tokens += [tokenizer.eot_id, *tokenizer.encode(text).tolist()]
    for block in range(3):
        steps = range(block * ours.steps, (block + 1) * ours.steps)
        rows = [row.tolist() for step in steps for row in torch.cat([*ours[step]], dim=1)]
        first, n = block * ours.steps * 4 * 16, ours.steps * 4
        starts = [first + 16 * number for number in range(n)]
        expected = [tokens[start : start + 16] + tokens[start + 1 : start + 17] for start in starts]
        assert rows != expected
        assert sorted(rows) == sorted(expected)


@pytest.mark.parametrize("order", ["epochs", "crops"])
def test_a_batch_is_a_function_of_seed_and_step(root: Path, order: str) -> None:
    ours = batches(root, order=order)
    seen, states = {}, {}
    for step in range(200):
        seen[step] = ours[step]
        states[step] = ours.tensors(max(step - AHEAD, 0))
        assert len(ours.places) <= KEPT_PLACES + 2 and states[step]["place"].numel() == 4
    for step in (199, 70, 31, 100):
        again = batches(root, order=order)
        again.load_tensors(states[step])
        assert again.tensors(step)["place"][0] == max(step - AHEAD, 0) // ours.steps  # no need to read the stream anew
        for each in (step, step - step % ours.steps, 199):  # forward, back to a known place, and forward
            assert torch.equal(again[each][0], seen[each][0]) and torch.equal(again[each][1], seen[each][1])
    assert not torch.equal(batches(root, order=order, seed=4)[0][0], seen[0][0])


def test_an_order_that_needs_all_tokens_is_refused(root: Path) -> None:
    with pytest.raises(UserError, match=r"train.order documents needs token files"):
        batches(root, order="documents")


def test_a_file_that_has_changed_is_named(root: Path, web: Web) -> None:
    before = web.files["3.parquet"]
    ours = opened(root)
    place = Place(2, 0)
    web.files["3.parquet"] = before + b"#"
    try:
        with pytest.raises(UserError, match=r"3\.parquet is not the pinned one any more: .* `dvc repro download` says"):
            next(ours.documents(place))
        assert run_stage_here("download", root) == 2
    finally:
        web.files["3.parquet"] = before


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [({"max_documents": 0}, "mode stream needs max_bytes or max_documents"), ({"deduplicate": True}, "cannot dedup")],
)
def test_what_a_stream_cannot_do_is_said_before_anything_starts(
    tmp_path: Path, changes: dict[str, Any], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {**DATA, "mode": "stream", "max_documents": HEAD, **changes}
    assert run_stage_here("download", make_workspace(tmp_path, data=data, tokenize=HALF)) == 2
    assert complaint in capsys.readouterr().err


def test_a_source_with_nothing_but_the_head_is_refused(tmp_path: Path, web: Web) -> None:
    web.files["only.jsonl"] = "".join(json.dumps({"text": text}) + "\n" for text in texts()[:HEAD]).encode()
    ours = opened(workspace(tmp_path, web.url("only.jsonl")))
    with pytest.raises(UserError, match=r"has no documents but the first"):
        next(ours.documents(ours.start))


@pytest.fixture(scope="module")
def uninterrupted(source: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = workspace(tmp_path_factory.mktemp("uninterrupted"), source)
    finish(start(root, GPTCORE_CHECKPOINT_SECONDS="1000"))
    return root


def kill_and_go_on(root: Path, **environment: str) -> None:
    process = start(root, **environment)
    pause_when(process, lambda: last_step(root / "data/scratch") > 30)
    process.kill()
    process.communicate()
    assert "train: resumed at step" in finish(start(root, **environment))
    assert list((root / "data/scratch/stream").iterdir()) == []


def test_killed_in_mid_stream_over_http(uninterrupted: Path, source: list[str], tmp_path: Path) -> None:
    root = workspace(tmp_path / "killed", source)
    kill_and_go_on(root)
    assert_same(root, uninterrupted)


@pytest.mark.load
def test_killed_in_mid_stream_from_s3(uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        for name, content in files().items():
            server.client.put_object(Bucket=BUCKET, Key=f"corpus/{name}", Body=content)
        root = workspace(tmp_path / "killed", f"s3://{BUCKET}/corpus")
        kill_and_go_on(root)
    assert_same(root, uninterrupted)


@pytest.mark.load
def test_the_baseline_trains_on_the_same_stream_with_two_ranks_as_with_one(source: list[str], tmp_path: Path) -> None:
    root = workspace(tmp_path, source, train={**TRAIN, "steps": 20}, curve={**CURVE, "points": 2})
    assert run_stage_here("baseline", root) == 0
    alone = val_losses(root)
    code, output = run_stage("baseline", root, GPTCORE_RANKS="2")
    assert code == 0, output
    assert val_losses(root) == pytest.approx(alone, rel=1e-4)


def val_losses(root: Path) -> list[float]:
    with (root / "data/baseline/curve.csv").open() as file:
        return [float(row["val_loss"]) for row in csv.DictReader(file)]


def test_stream_json_names_the_code_that_reads_a_stream(root: Path) -> None:
    """It replaces dvc.yaml's code dependencies."""
    assert read_json(root / "data/raw/stream.json")["code_sha256"] == code_sha256("gptcore.corpus.stream")


def test_the_hash_of_the_files_is_the_pin(root: Path) -> None:
    meta = read_json(root / "data/raw/stream.json")
    lines = "".join(f"{each['address']} {each['version']}\n" for each in meta["files"])
    assert meta["data"]["sha256"] == hashlib.sha256(lines.encode()).hexdigest()
