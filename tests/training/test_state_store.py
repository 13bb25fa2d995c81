"""Checkpoint storage: the same guarantees in a folder and on an S3 server over HTTP."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import gptcore.s3
from gptcore.config.settings import settings
from gptcore.errors import UserError
from gptcore.training.checkpoint import Checkpoints, Progressed
from gptcore.training.state_store import LAST, StateStore, open_state_store
from tests.support.engine import make_workspace, run_stage_here
from tests.support.faulty_proxy import faulty_proxy
from tests.support.s3 import BUCKET, s3_server


@pytest.fixture(scope="module")
def s3_environment() -> Iterator[dict[str, str]]:
    with s3_server() as server:
        yield server.environment


@pytest.fixture
def s3(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty location on the server."""
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    address = f"s3://{BUCKET}/test"
    open_state_store(address).clear()
    return address


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> StateStore:
    return open_state_store(request.getfixturevalue("s3") if request.param == "s3" else str(tmp_path / "place"))


def write(place: StateStore, name: str, **files: str) -> None:
    with place.writing(name) as folder:
        for file, text in files.items():
            (folder / file).write_text(text)


def test_an_entry_comes_back_is_replaced_and_removed(place: StateStore) -> None:
    assert place.names() == []
    write(place, "one", state="first", SHA256SUMS="sum")
    write(place, "two", state="second", SHA256SUMS="sum")
    write(place, "one", state="again", SHA256SUMS="sum")
    with place.reading("one") as folder:
        assert {each.name: each.read_text() for each in folder.iterdir()} == {"state": "again", LAST: "sum"}
    place.remove("one")
    assert place.names() == ["two"]
    place.clear()
    assert place.names() == []
    with pytest.raises(FileNotFoundError), place.reading("two") as folder:
        (folder / "state").read_text()


def test_what_fails_leaves_nothing(place: StateStore) -> None:
    with pytest.raises(ZeroDivisionError), place.writing("one") as folder:
        (folder / "state").write_text("half")
        _ = 1 / 0
    assert place.names() == []


def test_a_prefix_is_no_pattern(s3: str) -> None:
    other = open_state_store(f"{s3}/run1")
    write(other, "one", state="theirs", SHA256SUMS="sum")
    for name in ("run[1]", "run*", "run?"):
        ours = open_state_store(f"{s3}/{name}")
        write(ours, "two", state="ours", SHA256SUMS="sum")
        assert ours.names() == ["two"]
        with ours.reading("two") as folder:
            assert (folder / "state").read_text() == "ours"
        ours.clear()
        assert (ours.names(), other.names()) == ([], ["one"])


def test_an_error_is_not_an_empty_store(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    monkeypatch.setattr(gptcore.s3, "TIMEOUTS", {"retries": {"total_max_attempts": 1}})
    for variable, value in s3_environment.items():
        monkeypatch.setenv(variable, value)
    boto3.client("s3", endpoint_url=s3_environment["AWS_ENDPOINT_URL"]).create_bucket(Bucket="passing")
    with faulty_proxy(s3_environment["AWS_ENDPOINT_URL"]) as (address, plan):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        store = open_state_store("s3://passing/run")
        write(store, "one", state="first", SHA256SUMS="sum")
        for act in (store.names, store.clear, lambda: store.remove("one")):
            plan.set("500", "GET", 1)
            with pytest.raises(OSError, match="the test says so"):
                act()
        assert store.names() == ["one"]
        store.clear()
        boto3.client("s3", endpoint_url=address).delete_bucket(Bucket="passing")
        with pytest.raises(OSError, match="the bucket passing does not exist"):
            store.names()


def test_a_home_of_nobody_is_one_line() -> None:
    with pytest.raises(UserError, match=r"cannot be written to ~nosuchuser/run: .*; mend that"):
        open_state_store("~nosuchuser/run")


def save(address: str, *steps: int) -> Checkpoints:
    ours = Checkpoints(open_state_store(address), {"seed": 1})
    for step in steps:
        ours.keep_best(step, 1 / step, {"w": torch.full((3,), float(step))})
        ours.save({"w": torch.full((3,), float(step))}, Progressed(step, 0.0, 0.0, [], []), wait=True)
    return ours


def loaded(address: str) -> Any:
    found = Checkpoints(open_state_store(address), {"seed": 1}).load()
    assert found is not None
    return found[0]["w"].tolist()


def test_on_s3_the_newest_and_the_best_are_kept(s3: str) -> None:
    save(s3, 1, 2, 3)
    expected = ["best-000000002", "best-000000003", "step-000000002", "step-000000003"]
    assert sorted(open_state_store(s3).names()) == expected
    again = Checkpoints(open_state_store(s3), {"seed": 1})
    assert again.load() is not None and again.best is not None and again.best.weights["w"].tolist() == [3.0] * 3


def edited(content: bytes) -> bytes:
    return content[: len(content) // 2] + b"#" + content[-10:]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def test_a_damaged_object_makes_the_one_before_it_count(s3: str, capsys: pytest.CaptureFixture[str]) -> None:
    files, entry = save(s3, 1, 2).place.files, f"{s3}/step-000000002"

    def assert_the_first_counts() -> None:
        assert loaded(s3) == [1.0] * 3
        assert f"{entry} is damaged (" in capsys.readouterr().out

    for name, damage in (("state.safetensors", edited), ("state.json", cut), (LAST, edited)):
        content = files.cat_file(f"{entry}/{name}")
        files.pipe_file(f"{entry}/{name}", damage(content))
        assert_the_first_counts()
        files.pipe_file(f"{entry}/{name}", content)
    assert loaded(s3) == [2.0] * 3
    files.rm_file(f"{entry}/{LAST}")  # an interrupted upload: the last object is missing
    assert_the_first_counts()


def test_without_the_bucket_one_line(s3: str) -> None:
    with pytest.raises(UserError, match=r"cannot be written to s3://none/run: .*bucket does not exist; .*CHECKPOINTS"):
        open_state_store("s3://none/run")


def test_a_stage_says_so_before_its_first_step(
    s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GPTCORE_CHECKPOINTS", "s3://none")
    settings.cache_clear()
    root = make_workspace(tmp_path / "workspace")
    capsys.readouterr()
    assert run_stage_here("train", root) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: train: checkpoints cannot be written to s3://none/train/")


def test_without_credentials_one_line(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(UserError, match="Unable to locate credentials; mend that"):
        open_state_store(s3)


def test_without_a_server_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="Could not connect to the endpoint URL"):
        open_state_store(f"s3://{BUCKET}/run")


def test_without_s3fs_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only who uses it needs it: test_contracts.py looks at what is imported."""
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UserError, match="need the package s3fs; install it"):
        open_state_store(f"s3://{BUCKET}/run")
