"""Downloads from a faulty web server: complete and correct, or a one-line error."""

import gzip
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import gptcore.corpus.fetch
import gptcore.corpus.transfer
from gptcore.corpus.fetch import CHUNK_BYTES, fetch_url, http_answer
from gptcore.corpus.store import Kept, Store
from gptcore.corpus.transfer import fetch
from gptcore.errors import Unavailable, UserError
from tests.support.scratch import wait_until
from tests.support.web import Web, serve

TEXT = "".join(f"line {number}\n" for number in range(100_000)).encode()
FETCH = (
    "import sys; from pathlib import Path; from gptcore.corpus.fetch import fetch_url; "
    "fetch_url(sys.argv[1], '', Path())"
)
SHA256 = hashlib.sha256(TEXT).hexdigest()


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(gptcore.corpus.transfer, "RETRY_WAITS_SECONDS", (0.01, 0.01))
    monkeypatch.setattr(gptcore.corpus.fetch, "TIMEOUT_SECONDS", (1.0, 0.3))
    with serve(Web({"a.txt": TEXT})) as web:
        yield web


def get(web: Web, folder: Path, hold: bool = True, sha256: str = "") -> Kept:
    url = web.url("a.txt")
    return fetch(url, sha256, Store(folder, hold), lambda offset, version: http_answer(url, offset, version))


def is_whole(kept: Kept, folder: Path) -> bool:
    return kept.sha256 == SHA256 and Store(folder).path(SHA256).read_bytes() == TEXT


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_goes_on_where_it_was_cut(web: Web, tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    web.faults = [fault, 503, fault]
    assert is_whole(get(web, tmp_path), tmp_path)
    assert [bool(asked) for _, asked in web.requests] == [False, True, True, True]
    assert web.sent_bytes < len(TEXT) + 3 * CHUNK_BYTES, "what had come did not come again"
    assert capsys.readouterr().out.count("trying again in") == 3


def test_as_many_cuts_as_there_may_be_while_it_gets_on(web: Web, tmp_path: Path) -> None:
    web.faults = ["cut"] * 6
    assert is_whole(get(web, tmp_path), tmp_path)


def test_what_lies_half_here_is_not_mixed_with_what_came_since(web: Web, tmp_path: Path) -> None:
    web.files["a.txt"], web.faults = b"another text " * 100_000, ["cut", 503, 503]
    with pytest.raises(Unavailable, match="HTTP 503"):
        get(web, tmp_path)
    web.files["a.txt"] = TEXT
    assert is_whole(get(web, tmp_path), tmp_path)
    assert web.requests[-1][1], "it asked for the rest, and got the whole of the new one"


@pytest.mark.parametrize("missing", ["ranges", "etags"])
def test_a_server_that_cannot_go_on_sends_all_again(web: Web, tmp_path: Path, missing: str) -> None:
    setattr(web, missing, False)
    web.faults = ["cut", None]
    assert is_whole(get(web, tmp_path), tmp_path)


LIES: dict[str, Callable[[int, int], tuple[int, str]]] = {
    "it starts elsewhere, and says so": lambda start, size: (start + 99, f"bytes {start + 99}-{size - 1}/{size}"),
    "it says that it starts elsewhere": lambda start, size: (start, f"bytes 0-{size - 1}/{size}"),
    "it ends before the end": lambda start, size: (start, f"bytes {start}-{size - 2}/{size}"),
    "another total": lambda start, size: (start, f"bytes {start}-{size}/{size + 1}"),
    "it does not say which": lambda start, size: (start + 99, ""),
    "nor in words": lambda start, size: (start + 99, "the rest"),
    "total unknown": lambda start, size: (start, f"bytes {start}-{size - 1}/*"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_part_that_is_not_the_one_asked_for_is_not_appended(web: Web, tmp_path: Path, lie: str) -> None:
    web.faults, web.part = ["cut"], LIES[lie]
    assert is_whole(get(web, tmp_path), tmp_path)
    assert [bool(asked) for _, asked in web.requests] == [False, True, False]
    assert not list(tmp_path.glob("*.part")) and not list(tmp_path.glob("*.begun"))


def test_a_part_that_was_not_asked_for_is_refused_after_a_few_tries(web: Web, tmp_path: Path) -> None:
    web.faults = ["part"] * 1000
    with pytest.raises(Unavailable, match=r"a.txt answers with the status 206, not with the whole file; try again$"):
        get(web, tmp_path)
    assert len(web.requests) <= 6


def test_two_versions_of_one_etag_make_no_file(web: Web, tmp_path: Path) -> None:
    web.etag, web.files["a.txt"], web.faults = '"1"', TEXT[::-1], ["cut", 503, 503]
    with pytest.raises(Unavailable):
        get(web, tmp_path)
    web.files["a.txt"] = TEXT
    assert is_whole(get(web, tmp_path, sha256=SHA256), tmp_path)
    assert [bool(asked) for _, asked in web.requests[-2:]] == [True, False], "the mixture was dropped"


def test_a_file_that_was_whole_when_it_was_interrupted_is_not_sent_again(web: Web, tmp_path: Path) -> None:
    web.faults = ["cut", 503, 503]
    with pytest.raises(Unavailable):
        get(web, tmp_path)
    (part,) = tmp_path.glob("*.part")
    part.write_bytes(TEXT)
    assert is_whole(get(web, tmp_path), tmp_path)
    web.files["a.txt"] = TEXT + b"more"
    part.write_bytes(TEXT)
    assert is_whole(get(web, tmp_path, hold=False), tmp_path), "kept"


def test_a_packed_answer_must_end(web: Web, tmp_path: Path) -> None:
    web.headers = {"Content-Encoding": "gzip"}
    web.files["a.txt"] = gzip.compress(TEXT[:500_000], 1) + gzip.compress(TEXT[500_000:], 1)
    assert is_whole(get(web, tmp_path), tmp_path), "also of several members"
    for packed in (gzip.compress(TEXT)[:-20_000], gzip.compress(TEXT)[:-1], b""):
        web.files["a.txt"] = packed
        with pytest.raises(Unavailable, match=r"cannot be read: .*end in the middle"):
            get(web, tmp_path / "other")
        assert not list((tmp_path / "other").glob("*.file"))
    web.headers = {"Content-Encoding": "br"}
    with pytest.raises(UserError, match=r"a.txt is sent in the encoding br, and none was asked for"):
        get(web, tmp_path / "other")


def test_a_server_that_says_when_to_come_back(web: Web, tmp_path: Path) -> None:
    web.headers, web.faults = {"Retry-After": "1"}, [503]
    begun = time.monotonic()
    assert is_whole(get(web, tmp_path), tmp_path)
    assert time.monotonic() - begun >= 1
    web.headers, web.faults = {"Retry-After": "3600"}, [429]
    with pytest.raises(Unavailable, match=r"HTTP 429 .*; the server asks to wait 3,600 seconds, then try again$"):
        get(web, tmp_path / "other")
    assert len(web.requests) == 3, "such a long time is left to a later run"
    web.headers, web.faults = {"Retry-After": "soon"}, [503]
    assert is_whole(get(web, tmp_path / "other"), tmp_path / "other")


def test_a_killed_download_goes_on(web: Web, tmp_path: Path) -> None:
    web.faults, web.stall_seconds = ["stall"], 20.0
    process = subprocess.Popen([sys.executable, "-c", FETCH, web.url("a.txt")], cwd=tmp_path)
    try:
        # the download has written everything sent: half the file, more than buffers hold
        wait_until(lambda: any(part.stat().st_size > len(TEXT) // 4 for part in tmp_path.glob("*.part")))
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    web.stall_seconds = 0
    assert is_whole(get(web, tmp_path), tmp_path)
    asked = web.requests[-1][1]
    assert asked and int(asked.removeprefix("bytes=").rstrip("-")) > len(TEXT) // 4


def test_a_kept_file_is_not_asked_for_again_and_a_damaged_one_is(web: Web, tmp_path: Path) -> None:
    get(web, tmp_path)
    get(web, tmp_path)
    assert len(web.requests) == 1
    Store(tmp_path).path(SHA256).write_bytes(TEXT[:-1])
    assert is_whole(get(web, tmp_path), tmp_path)
    assert len(web.requests) == 2


def test_an_address_must_give_what_it_gave_first(web: Web, tmp_path: Path) -> None:
    get(web, tmp_path)
    Store(tmp_path).path(SHA256).unlink()
    web.files["a.txt"] = b"revised"
    new = hashlib.sha256(b"revised").hexdigest()
    with pytest.raises(UserError, match=rf"a.txt has the sha256 {new} of 7 bytes, not {SHA256} of .* `rm ") as error:
        get(web, tmp_path)
    remedy = str(error.value).partition("`rm ")[2].partition("`")[0]
    Path(remedy).unlink()
    assert get(web, tmp_path).sha256 == new, "as the message said"


def test_where_the_corpus_is_pinned_its_files_may_change(web: Web, tmp_path: Path) -> None:
    get(web, tmp_path)
    Store(tmp_path).path(SHA256).unlink()
    web.files["a.txt"] = b"revised"
    assert get(web, tmp_path, hold=False).size == 7


def test_a_pinned_file_that_is_another_is_refused(web: Web, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"has the sha256 {SHA256} of .* bytes, not 0{{64}}; nothing was kept"):
        get(web, tmp_path, sha256="0" * 64)
    assert not list(tmp_path.glob("*.file"))
    assert fetch_url(web.url("a.txt"), SHA256, tmp_path).read_bytes() == TEXT


def test_a_page_is_no_data(web: Web, tmp_path: Path) -> None:
    web.faults = ["page"]
    with pytest.raises(UserError, match=r"a.txt is a page for people .*no data"):
        get(web, tmp_path)
    assert not list(tmp_path.glob("*.file"))
    assert is_whole(get(web, tmp_path), tmp_path), "nothing of the page is left"


@pytest.mark.parametrize(
    "page",
    [b"\n<html lang='en'>", b"<!-- a\n -- comment -->\n<!DOCTYPE HTML PUBLIC>", b"\xef\xbb\xbf<!doctype html>",
     b"<!--" + b"x" * 9_000 + b"--><html>", b"<?xml version='1.0'?>\n<!DOCTYPE html SYSTEM 'x'><html>",
     b"<?xml version='1.0' encoding='UTF-8'?>\n<Error><Code>NoSuchKey</Code></Error>",
     b"<Error>\n <Code>AccessDenied</Code>"],
)  # fmt: skip
def test_an_error_page_with_status_200_is_no_data(web: Web, tmp_path: Path, page: bytes) -> None:
    web.files["a.txt"] = page + b" and so on"
    with pytest.raises(UserError, match=r"a.txt is a page for people or an error message, no data"):
        get(web, tmp_path)
    assert not list(tmp_path.glob("*.file"))


@pytest.mark.parametrize("text", [b"<?xml version='1'?><mediawiki>", b"<!-- html -->", b"<htm", b"The tag <html>", b""])
def test_what_only_looks_like_a_page_is_data(web: Web, tmp_path: Path, text: bytes) -> None:
    web.files["a.txt"] = text
    assert get(web, tmp_path).size == len(text)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("file:///etc/passwd", "redirects to file:, and only http"),
        ("ftp://127.0.0.1/a.txt", "redirects to ftp:, and only http"),
        ("/a.txt", "refuses: it redirects in a loop"),
        ("http://[bad/x", "redirects to an address that is no web address"),
        (f"http://{'a' * 64}.org/", "redirects to an address that is no web address"),
    ],
)
def test_where_a_redirect_must_not_lead(web: Web, tmp_path: Path, target: str, words: str) -> None:
    web.redirects["a.txt"] = target
    with pytest.raises(UserError, match=words) as error:
        get(web, tmp_path)
    assert not isinstance(error.value, Unavailable), "it is not tried again"
    assert "passwd" not in str(error.value)


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_is_final(web: Web, tmp_path: Path, status: int) -> None:
    web.faults = [status]
    with pytest.raises(UserError, match=rf"^http://127.0.0.1:\d+/a.txt refuses: HTTP {status}") as error:
        get(web, tmp_path)
    assert not isinstance(error.value, Unavailable)
    assert len(web.requests) == 1


def test_a_server_that_stays_down_may_be_up_later(web: Web, tmp_path: Path) -> None:
    web.faults = [503] * 3
    with pytest.raises(Unavailable, match=r"cannot be read: HTTP 503 .*try again$"):
        get(web, tmp_path)
    assert len(web.requests) == 3


def test_asked_again_a_kept_file_counts_while_the_server_has_it(web: Web, tmp_path: Path) -> None:
    get(web, tmp_path)
    url = web.url("a.txt")
    store = Store(tmp_path, hold=False, ask_again=True)
    kept_file = store.path(SHA256).stat().st_ino
    assert fetch(url, "", store, lambda offset, version: http_answer(url, offset, version)).sha256 == SHA256
    assert store.path(SHA256).stat().st_ino == kept_file, "it was not written again"
    web.files["a.txt"] = b"revised"
    assert fetch(url, "", store, lambda offset, version: http_answer(url, offset, version)).size == 7
