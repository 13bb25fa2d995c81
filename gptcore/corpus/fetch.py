"""Download, verify and cache files: a package's source distribution, or the file at an http(s) address."""

import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urljoin, urlsplit

from gptcore.corpus.addresses import check_web
from gptcore.corpus.allowed import is_allowed_address, require_allowed_address
from gptcore.corpus.hub_addresses import authorization
from gptcore.corpus.ranges import total_of_rest
from gptcore.corpus.store import Store
from gptcore.corpus.transfer import Answer, fetch, retry, unavailable
from gptcore.corpus.web_content import gunzipped, is_page, split_head
from gptcore.errors import Unavailable, UserError
from gptcore.files import atomic_path, sha256_file
from gptcore.progress import Progress

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage, PyPISimple
    from requests import Response

TIMEOUT_SECONDS = (5.0, 30.0)  # to connect, and to read the next bytes of a response
CHUNK_BYTES = 1 << 14  # an interrupted download loses less than this
RETRIED_STATUS = (408, 425, 429, 500, 502, 503, 504)


def fetch_package(name: str, version: str, folder: Path) -> Path:
    """Find the source distribution of a package by name and verify it as `pip` does, without executing its code.

    The index is PIP_INDEX_URL, else the public one. Raises UserError.
    """
    for kept in folder.glob(f"{name}-{version}-*.sdist"):
        if kept.stem == f"{name}-{version}-{sha256_file(kept)}":
            return kept
    from pypi_simple import PYPI_SIMPLE_ENDPOINT, DigestMismatchError, PyPISimple
    from requests import Session

    endpoint = os.environ.get("PIP_INDEX_URL") or PYPI_SIMPLE_ENDPOINT
    _require_web(endpoint, "PIP_INDEX_URL")
    index = f"the package index {host(endpoint)}"
    session = Session()
    session.hooks["response"] = [_stays_on_the_web]
    with PyPISimple(endpoint, session=session) as client:
        package = retry(lambda: _source_distribution(client, name, version, index))
        kept = folder / f"{name}-{version}-{package.digests['sha256']}.sdist"
        with atomic_path(kept) as temporary:
            try:
                retry(lambda: _download_package(client, package, temporary, index))
            except DigestMismatchError as error:
                raise UserError(
                    f"{package.filename} from {index} has the {error.algorithm} {error.actual_digest}, not "
                    f"{error.expected_digest} as the index says; nothing was kept, try another index (PIP_INDEX_URL)"
                ) from None
    return kept


def fetch_url(url: str, sha256: str, folder: Path) -> Path:
    """The file with the given sha256 at an http(s) address; a cached file is used as is. Raises UserError."""
    _require_web(url, url)
    store = Store(folder)
    return store.path(fetch(url, sha256, store, lambda offset, version: http_answer(url, offset, version)).sha256)


def archive_files(archive: Path, pattern: str) -> dict[str, bytes]:
    """Read the regular files of a tar archive whose path ends in `pattern`; nothing is extracted. Raises UserError."""
    try:
        with tarfile.open(archive) as tar:
            members = [member for member in tar if member.isfile() and PurePosixPath(member.name).match(pattern)]
            return {member.name: content.read() for member in members if (content := tar.extractfile(member))}
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{archive.name} is not a tar archive that can be read: {error}") from None


@contextmanager
def http_answer(url: str, offset: int, version: str) -> Iterator[Answer]:
    """The content of `url` from byte `offset` on if it is still `version`, else all. Raises UserError, Unavailable."""
    with http_errors(without_query(url)):
        with _asked(url, offset, version) as answer:
            if size := _rest(answer, offset, version):
                yield Answer(offset, size, version, _chunks(answer, url))
                return
            if answer.status_code not in (206, 416):
                yield _whole(answer, url)
                return
        with _asked(url, 0, "") as answer:  # that was not the part asked for, so ask for the whole
            yield _whole(answer, url)


def http_version(answer: "Response") -> str:
    """The version of the content (strong ETag or Last-Modified); empty if the download cannot be resumed."""
    if "Content-Encoding" in answer.headers:
        return ""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")


@contextmanager
def http_errors(where: str) -> Iterator[None]:
    """Raise errors of requests as Unavailable if a retry may help, else as UserError."""
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (RequestException, HTTPError, EOFError, zlib.error) as error:
        response = getattr(error, "response", None)
        if isinstance(error, ValueError) or (response is not None and response.status_code not in RETRIED_STATUS):
            raise UserError(f"{where} refuses: {_reason(error)}; check the address, and whether it is public") from None
        headers = {} if response is None else response.headers
        raise unavailable(f"{where} cannot be read: {_reason(error)}", headers) from None


def host(url: str) -> str:
    """The address without path, user name and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def without_query(url: str) -> str:
    """The address without its possibly secret parts: user name, password, query."""
    return host(url) + urlsplit(url).path


def _source_distribution(client: "PyPISimple", name: str, version: str, index: str) -> "DistributionPackage":
    from pypi_simple import NoSuchProjectError, UnsupportedRepoVersionError

    try:
        with http_errors(index):
            page = client.get_project_page(name, timeout=TIMEOUT_SECONDS)
    except NoSuchProjectError:
        raise UserError(f"{index} has no package {name}") from None
    except (ValueError, UnsupportedRepoVersionError) as error:  # an answer of another kind, with status 200
        raise UserError(f"{index} answers with no list of packages: {str(error).partition(chr(10))[0]}") from None
    found = {str(package.version): package for package in page.packages if package.package_type == "sdist"}
    if version not in found:
        raise UserError(f"{index} has no source distribution {name} {version}; it has {', '.join(found) or 'none'}")
    if "sha256" not in found[version].digests:
        raise UserError(f"{index} gives no sha256 for {name} {version}, so it cannot be verified; use another index")
    return found[version]


def _download_package(client: "PyPISimple", package: "DistributionPackage", path: Path, index: str) -> None:
    with http_errors(index):
        client.download_package(package, path, progress=_Received, timeout=TIMEOUT_SECONDS)


def _require_web(address: str, what: str) -> None:
    try:
        scheme = check_web(address).scheme
    except ValueError as error:
        raise UserError(f"{what} {error}") from None
    if scheme not in ("http", "https"):
        raise UserError(f"{what} is no http(s) address")


def _asked(url: str, offset: int, version: str) -> "Response":
    """The server's answer to a request for the bytes from `offset` on, if they are still of `version`."""
    import requests

    # request the stored bytes uncompressed, so that byte offsets are meaningful
    headers = {"Accept-Encoding": "identity", **authorization(url)}
    if offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": version}
    hooks = {"response": _stays_on_the_web}
    return requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS, hooks=hooks)


def _stays_on_the_web(answer: "Response", **_: Any) -> None:
    """Raises UserError if the answer redirects to anything but http(s)."""
    if not answer.is_redirect:
        return
    where = without_query(answer.url)
    try:
        target = check_web(answer.headers["Location"])
    except ValueError as error:
        raise UserError(f"{where} redirects to an address that {error}; check the address") from None
    if target.scheme not in ("", "http", "https"):
        raise UserError(f"{where} redirects to {target.scheme}:, and only http(s) is followed; check the address")
    if is_allowed_address(answer.url):  # unlike the files behind hf://, which are where the hub says
        require_allowed_address(f"{where} redirects", without_query(urljoin(answer.url, answer.headers["Location"])))


def _rest(answer: "Response", offset: int, version: str) -> int | None:
    """The size of the whole if the answer is the rest from `offset` on of the same version, else None."""
    if not offset or answer.status_code != 206 or http_version(answer) != version:
        return None
    return total_of_rest(answer.headers.get("Content-Range", ""), offset)


def _whole(answer: "Response", url: str) -> Answer:
    """Raises UserError for an error page, such as one with status 200; Unavailable for a part."""
    answer.raise_for_status()
    where = without_query(url)
    if answer.status_code not in (200, 203):
        raise Unavailable(f"{where} answers with the status {answer.status_code}, not with the whole file; try again")
    head, rest = split_head(_chunks(answer, url))
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    if kind in ("text/html", "application/xhtml+xml") or is_page(head):
        what = f"a page for people or an error message{f' ({kind})' if kind else ''}, no data"
        raise UserError(f"{where} is {what}; name the address of the file itself")
    size = None if "Content-Encoding" in answer.headers else _size(answer.headers.get("Content-Length"))
    return Answer(0, size, http_version(answer), chain([head], rest))


def _chunks(answer: "Response", url: str) -> Iterator[bytes]:
    packing = answer.headers.get("Content-Encoding", "").strip().lower()
    with http_errors(without_query(url)):
        blocks = answer.raw.stream(CHUNK_BYTES, decode_content=False)
        if packing in ("", "identity"):
            yield from blocks
        elif packing in ("gzip", "x-gzip"):
            yield from gunzipped(blocks)
        else:
            raise UserError(f"{without_query(url)} is sent in the encoding {packing}, and none was asked for")


def _size(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _reason(error: Exception) -> str:
    """The root cause of a network error, without the address and the wrapping exceptions."""
    from requests import TooManyRedirects

    if isinstance(error, TooManyRedirects):
        return "it redirects in a loop"
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code} {response.reason}"
    cause = error.args[0] if error.args else error
    cause = getattr(cause, "reason", cause)
    cause = cause.args[0] if getattr(cause, "args", ()) else cause
    return f"{type(error).__name__} ({str(cause).rpartition(': ')[2]})"


class _Received:
    """Counts received bytes and shows progress if the total is known (pypi-simple's ProgressTracker)."""

    def __init__(self, total_bytes: int | None) -> None:
        self.progress = Progress("download", total_bytes, "byte") if total_bytes else None
        self.received_bytes = 0

    def __enter__(self) -> Self:
        if self.progress:
            self.progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.progress:
            self.progress.__exit__(*error)

    def update(self, increment: int) -> None:
        self.received_bytes += increment
        if self.progress:
            self.progress.update(self.received_bytes)
