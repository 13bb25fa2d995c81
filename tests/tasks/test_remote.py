"""DVC's remote on S3-compatible storage, over HTTP: a fresh clone runs nothing, a faulty server costs only retries."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dvc.cli import main as dvc

from flows.page.page import REPORT
from flows.rebuild_gpt import rebuild_gpt
from flows.train_gpt import train_gpt
from gptcore.config.params import read_params
from tasks.dvc.repository import locked
from tasks.dvc.verify import MEND, Found, Kept, Stores, faults
from tests.conftest import settle
from tests.flows.test_flow import verdicts
from tests.support import scratch
from tests.support.faulty_proxy import Fault, Plan, faulty_proxy
from tests.support.s3 import BUCKET, S3Server, s3_server

OBJECTS = f"/{BUCKET}/dvc/files/md5/../[0-9a-f]+$"  # files, not folder listings


@dataclass
class Remote:
    server: S3Server
    address: str
    plan: Plan

    def use(self, root: Path) -> None:
        """Set this as the remote of the DVC project in `root`."""
        transfer(root, "remote", "add", "--default", "store", f"s3://{BUCKET}/dvc")
        for option in (f"endpointurl={self.address}", "read_timeout=1", "verify=true"):
            transfer(root, "remote", "modify", "store", *option.split("="))

    def damage(self, file: Path) -> str:
        """Change a byte of the object that holds `file`; return the object's key."""
        content = file.read_bytes()
        (key,) = (each for each in self.server.objects() if each.endswith(object_name(content)))
        self.server.client.put_object(Bucket=BUCKET, Key=key, Body=content[:-1] + bytes([content[-1] ^ 1]))
        return key


def object_name(content: bytes) -> str:
    md5 = hashlib.md5(content).hexdigest()
    return f"files/md5/{md5[:2]}/{md5[2:]}"


@pytest.fixture(scope="module")
def remote() -> Iterator[Remote]:
    with s3_server() as server, faulty_proxy(server.environment["AWS_ENDPOINT_URL"]) as (address, plan):
        yield Remote(server, address, plan)


@pytest.fixture(autouse=True)
def bucket(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set a user's credentials; nothing fails unless the test requests it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, remote.server.environment[name])
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    yield
    remote.plan.left = 0


@pytest.fixture
def files(tmp_path: Path, remote: Remote) -> Path:
    """A DVC project with three files in data/, none of them pushed."""
    root = tmp_path / "files"
    (root / "data").mkdir(parents=True)
    for number in range(3):
        (root / "data" / str(number)).write_bytes(os.urandom(200_000))
    assert dvc(["--cd", str(root), "init", "--no-scm", "--quiet"]) == 0
    remote.use(root)
    assert dvc(["--cd", str(root), "add", "--quiet", "data"]) == 0
    return root


def transfer(root: Path, *command: str) -> int:
    return int(dvc(["--cd", str(root), *command, "--quiet"]))


def pulled(root: Path) -> dict[str, bytes]:
    """The files that a pull downloads to an empty cache."""
    shutil.rmtree(root / ".dvc/cache")
    shutil.rmtree(root / "data")
    assert transfer(root, "pull") == 0
    return contents(root / "data")


def contents(folder: Path) -> dict[str, bytes]:
    """Of all results; the report is made anew by each run, and names it."""
    files = [each for each in folder.rglob("*") if each.is_file() and each.name != REPORT]
    return {str(each.relative_to(folder)): each.read_bytes() for each in files}


@pytest.mark.parametrize("fault", ["503", "stall", "drop"])
def test_a_fault_costs_retries_and_no_data(fault: Fault, files: Path, remote: Remote) -> None:
    before = contents(files / "data")
    remote.plan.set(fault, f"PUT {OBJECTS}", 2)
    assert transfer(files, "push") == 0
    assert len(remote.plan.struck) == 2
    stored = {key: remote.server.client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in whole(before)}
    assert stored == whole(before)
    remote.plan.set(fault, f"GET {OBJECTS}", 2)
    assert pulled(files) == before
    assert len(remote.plan.struck) == 2


def whole(files: dict[str, bytes]) -> dict[str, bytes]:
    """Each object's key -> its expected content."""
    return {f"dvc/{object_name(content)}": content for content in files.values()}


def test_a_server_that_stays_faulty_fails_the_push_and_the_next_one_mends_it(files: Path, remote: Remote) -> None:
    before = contents(files / "data")
    remote.plan.set("503", f"PUT {OBJECTS}", 1000)
    assert transfer(files, "push") != 0
    remote.plan.left = 0
    assert transfer(files, "push") == 0
    assert pulled(files) == before


def test_a_damaged_object_is_refused_named_and_mended(
    files: Path, remote: Remote, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    before = contents(files / "data")
    assert transfer(files, "push") == 0
    key = remote.damage(files / "data/1")
    elsewhere = shutil.copytree(files, tmp_path / "elsewhere")
    shutil.rmtree(elsewhere / ".dvc/cache")
    shutil.rmtree(elsewhere / "data")
    assert dvc(["--cd", str(elsewhere), "pull", "--verbose"]) != 0
    assert f"corrupted cache file '{elsewhere}/.dvc/cache/{key.removeprefix('dvc/')}'" in caplog.text
    assert not (elsewhere / "data").exists()
    good = files / ".dvc/cache" / key.removeprefix("dvc/")  # as `gptcore registry verify --mend` does
    remote.server.client.put_object(Bucket=BUCKET, Key=key, Body=good.read_bytes())
    assert transfer(elsewhere, "pull") == 0
    assert contents(elsewhere / "data") == before


@pytest.fixture(scope="module")
def pushed(remote: Remote, finished_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the flow has run, with its data on the remote."""
    root = shutil.copytree(finished_template, tmp_path_factory.mktemp("pushed") / "project", symlinks=True)
    remote.use(root)
    scratch.commit(root)
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
            monkeypatch.setenv(name, remote.server.environment[name])
        assert transfer(root, "push", "--run-cache") == 0
    return root


@pytest.fixture
def clone(pushed: Path, tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone as on another machine: git's files, and an empty cache."""
    scratch.run(tmp_path, "git", "clone", "--quiet", str(pushed), "clone")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site-cache"))
    return settle(tmp_path / "clone", server, monkeypatch)


def assert_restored(clone: Path, pushed: Path) -> None:
    for folder in ("raw", "tokens", "model", "baseline", "evaluation"):
        assert contents(clone / "data" / folder) == contents(pushed / "data" / folder)


def test_a_fresh_clone_is_restored_by_dvc(clone: Path, pushed: Path) -> None:
    output = scratch.run(clone, "dvc", "repro", "--pull")
    assert "Running stage" not in output
    assert_restored(clone, pushed)


def test_a_stage_with_a_damaged_object_runs_again(clone: Path, pushed: Path, remote: Remote) -> None:
    content = (pushed / "data/model/curve.csv").read_bytes()
    key = remote.damage(pushed / "data/model/curve.csv")
    output = scratch.run(clone, "dvc", "repro", "--pull")
    remote.server.client.put_object(Bucket=BUCKET, Key=key, Body=content)
    assert [line for line in output.splitlines() if "Running stage" in line] == ["Running stage 'train':"]
    assert_restored(clone, pushed)


def test_a_fresh_clone_is_restored_by_the_flow(clone: Path, pushed: Path) -> None:
    assert {row.split()[1] for row in verdicts(train_gpt(promotion=False))} == {"Cached"}
    assert not (clone / "steps-train").exists()
    assert_restored(clone, pushed)


def test_registry_and_remotes_are_enough_to_make_a_version_again(
    clone: Path, pushed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The experiment comes from the git remote, data from DVC's, also if the commit that made it knew of none."""
    assert "refs/exps" not in scratch.run(clone, "git", "for-each-ref")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{pushed}/mlflow.db")
    assert "store" not in scratch.run(clone, "git", "show", "HEAD~:.dvc/config")
    assert rebuild_gpt(1).endswith("is the same bit for bit, 2.05 bits per byte, on abacus; every stage was restored")


def test_verify_knows_what_s3_holds_of_each_object(files: Path, remote: Remote) -> None:
    """By its md5, without reading it; where the ETag is another md5, by its bytes; sent in parts, by its size."""
    assert transfer(files, "push") == 0
    names = {number: hashlib.md5((files / "data" / str(number)).read_bytes()).hexdigest() for number in range(3)}
    remote.damage(files / "data/0")
    (key,) = (each for each in remote.server.objects() if each.endswith(f"{names[1][:2]}/{names[1][2:]}"))
    in_parts(remote.server.client, key, (files / "data/1").read_bytes())
    with locked(files) as repo:
        stores = Stores(repo)
        assert stores.in_remote([*names.values(), "0" * 32], "damaged", "missing") == [names[0], "0" * 32]
        assert stores.in_remote([*names.values()], "by size") == [names[1]]
        in_parts(remote.server.client, key, b"short")
        stores.pushed.clear()
        assert stores.in_remote([*names.values()], "damaged") == [names[0], names[1]]


def test_what_verify_says_mends_s3(files: Path, remote: Remote) -> None:
    """And the cache from it. DVC's own push sends no file of a folder whose list is there."""
    before = contents(files / "data")
    assert transfer(files, "push") == 0
    remote.damage(files / "data/0")
    missing, *more = (object_name((files / "data" / each).read_bytes()) for each in "12")
    remote.server.client.delete_object(Bucket=BUCKET, Key=f"dvc/{missing}")
    assert transfer(files, "push") == 0
    (out,) = read_params(files / "data.dvc")["outs"]
    kept = {"a run": Kept({"data": out["md5"]}, "make it")}
    told = "data of a run: 1 file damaged and 1 file missing in DVC's"
    assert faults(files, kept).faults == [f"{told} remote; the cache has it: `{MEND}`"]
    assert faults(files, kept, mend=True) == Found([], by_size=0, mended=2)
    assert faults(files, kept) == Found([], by_size=0, mended=0)

    worn, gone = (files / ".dvc/cache" / each for each in (*more, missing))
    worn.chmod(0o644)
    worn.write_bytes(b"worn")
    worn.chmod(0o444)
    gone.unlink()
    assert faults(files, kept).faults == [f"{told} cache; the remote has it: `{MEND}`"]
    assert faults(files, kept, mend=True) == Found([], by_size=0, mended=2)
    assert pulled(files) == before


def in_parts(client: Any, key: str, content: bytes) -> None:
    made = client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    part = client.upload_part(Bucket=BUCKET, Key=key, PartNumber=1, UploadId=made, Body=content)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    client.complete_multipart_upload(Bucket=BUCKET, Key=key, UploadId=made, MultipartUpload=parts)
