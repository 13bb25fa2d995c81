"""A stage's outputs are restored from DVC's cache or remote; if they are missing or damaged there, the stage runs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.states import Failed

from gptcore.errors import Unavailable, UserError
from tasks.dvc.probe import probe
from tasks.dvc.remote import push
from tasks.dvc.restore import restore as restore_by_key
from tasks.push import push as push_task
from tasks.stage import is_worth_a_retry
from tests.support import scratch
from tests.support.s3 import BUCKET, S3Server, s3_server

STAGES = ["download", "start", "tokenize", "train", "baseline", "evaluate"]


@pytest.fixture
def made(made_template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made_template, tmp_path / "project", symlinks=True)


@pytest.fixture(scope="module")
def made_template(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scratch project that `dvc repro` has brought up to date."""
    root = shutil.copytree(template, tmp_path_factory.mktemp("made") / "project", symlinks=True)
    scratch.dvc(root, "repro")
    return root


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server, pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in {**server.environment, "AWS_MAX_ATTEMPTS": "1"}.items():
            monkeypatch.setenv(name, value)
        yield server


def objects(root: Path, content: str) -> list[Path]:
    cache = root / ".dvc/cache/files/md5"
    return [each for each in cache.glob("*/*") if each.is_file() and each.read_text() == content]


def restore(root: Path, stage: str) -> bool:
    key = probe(root)[stage].key
    assert key
    return restore_by_key(root, stage, key)


def record(root: Path) -> Path:
    """The train stage's entry in the run-cache."""
    (found,) = (root / ".dvc/cache/runs").glob(f"*/{probe(root)['train'].key}/*")
    return found


def test_what_dvc_lock_names(made: Path) -> None:
    lock = (made / "dvc.lock").read_bytes()
    shutil.rmtree(made / "data/model")
    (made / "data/baseline/metrics.json").unlink()
    assert restore(made, "train")
    assert restore(made, "baseline")
    assert not any(verdict.why for verdict in probe(made).values())
    assert (made / "dvc.lock").read_bytes() == lock
    assert "up to date" in scratch.run(made, "dvc", "status")


def test_what_the_run_cache_names(made: Path) -> None:
    lock = (made / "dvc.lock").read_bytes()
    shutil.rmtree(made / "data")
    (made / "dvc.lock").unlink()
    assert all(restore(made, stage) for stage in STAGES)
    assert not any(verdict.why for verdict in probe(made).values())
    assert (made / "dvc.lock").read_bytes() == lock
    assert scratch.steps_taken(made) == list(range(1, scratch.STEPS + 1))  # the fixture's steps


def test_other_parameters_run(made: Path) -> None:
    scratch.set_steps(made, 7)
    assert not restore(made, "train")
    assert not restore(made, "baseline")  # it has the same token budget
    assert restore(made, "tokenize")


@pytest.mark.parametrize("what", ["record missing", "record damaged", "object missing", "object torn"])
def test_what_is_missing_or_damaged_runs(made: Path, what: str) -> None:
    weights = str(2 + 1 / scratch.STEPS)
    damaged = record(made) if "record" in what else objects(made, weights)[0]
    damaged.chmod(0o644)
    shutil.rmtree(made / "data/model")
    if "record" in what:
        (made / "dvc.lock").unlink()
    if "missing" in what:
        damaged.unlink()
    else:
        damaged.write_text(damaged.read_text()[:3])
        damaged.chmod(0o444)
    assert not restore(made, "train")
    assert "train begins" in scratch.run(made, "dvc", "repro", "--single-item", "train")
    assert (made / "data/model/export/model.safetensors").read_text() == weights
    assert not probe(made)["train"].why


def test_another_machine_finds_it_in_the_remote(made: Path, s3: S3Server, tmp_path: Path) -> None:
    scratch.dvc(made, "remote", "add", "--default", "s3", f"s3://{BUCKET}/dvc")
    assert sum(push(made, stage) for stage in STAGES[:4]) > 8
    assert push(made, "train") == 0
    other = tmp_path / "other"
    scratch.run(tmp_path, "git", "clone", "--quiet", str(made), str(other))
    shutil.copy(made / ".dvc/config", other / ".dvc/config")
    for stage in STAGES[:4]:
        assert restore(other, stage), stage
        assert not probe(other)[stage].why
    assert (other / "data/model/samples.md").read_bytes() == (made / "data/model/samples.md").read_bytes()


@pytest.mark.parametrize(
    ("url", "environment", "kind", "words"),
    [
        ("s3://no-such-bucket/dvc", {}, UserError, "bucket does not exist"),
        (f"s3://{BUCKET}/a", {"AWS_ACCESS_KEY_ID": "", "AWS_EC2_METADATA_DISABLED": "true"}, UserError, "credentials"),
        (f"s3://{BUCKET}/b", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, Unavailable, "Could not connect"),
    ],
    ids=["no bucket", "no credentials", "no server"],
)
def test_remote_in_trouble(
    made: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch, url: str, environment: dict[str, str],
    kind: type[UserError], words: str,
) -> None:  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    scratch.dvc(made, "remote", "add", "--default", "s3", url)
    with pytest.raises(UserError, match=rf"^train cannot be pushed to DVC's remote: .*{words}.*$") as caught:
        push(made, "train")
    assert caught.type is kind
    will_retry = is_worth_a_retry(push_task, None, Failed(data=caught.value))  # type: ignore[arg-type]
    assert will_retry == (kind is Unavailable)
    shutil.rmtree(made / ".dvc/cache")
    shutil.rmtree(made / "data/model")
    with pytest.raises(UserError, match=rf"^train cannot be fetched from DVC's remote: .*{words}.*$") as caught:
        restore(made, "train")
    assert caught.type is kind
    assert "no-such-bucket" in str(caught.value) or "no-such-bucket" not in url, "a missing bucket is named"
