"""Files from the network, verified and kept: a package's source distribution, or what an http(s) address gives.

Kept files carry their own sha256 in their names, so a rerun knows them to be whole without asking anyone.
"""

import os
import tarfile
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

from gptcore.errors import UserError
from gptcore.files import atomic_path, sha256_file
from gptcore.progress import Progress

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage, PyPISimple
    from requests import RequestException

RETRY_WAITS_SECONDS = (1.0, 3.0, 6.0)
TIMEOUT_SECONDS = (5.0, 30.0)  # to connect, and between two pieces of an answer
CHUNK_BYTES = 1 << 16
RETRIED_STATUS = (408, 425, 429, 500, 502, 503, 504)

Result = TypeVar("Result")


def fetch_package(name: str, version: str, folder: Path) -> Path:
    """The source distribution of a package: found by name and verified as `pip` does, but nothing of it is executed.

    The index is the one in PIP_INDEX_URL, else the public one. Raises UserError.
    """
    for kept in folder.glob(f"{name}-{version}-*.sdist"):
        if kept.stem == f"{name}-{version}-{sha256_file(kept)}":
            return kept
    from pypi_simple import PYPI_SIMPLE_ENDPOINT, DigestMismatchError, PyPISimple

    endpoint = os.environ.get("PIP_INDEX_URL") or PYPI_SIMPLE_ENDPOINT
    index = f"the package index {_host(endpoint)}"
    with PyPISimple(endpoint) as client:
        package = _retry(index, lambda: _source_distribution(client, name, version, index))
        kept = folder / f"{name}-{version}-{package.digests['sha256']}.sdist"
        with atomic_path(kept) as temporary:
            try:
                _retry(index, lambda: client.download_package(
                    package, temporary, progress=_Received, timeout=TIMEOUT_SECONDS
                ))  # fmt: skip
            except DigestMismatchError as error:
                raise UserError(
                    f"{package.filename} from {index} has the {error.algorithm} {error.actual_digest}, not "
                    f"{error.expected_digest} as the index says; nothing was kept, try another index (PIP_INDEX_URL)"
                ) from None
    return kept


def fetch_url(url: str, sha256: str, folder: Path) -> Path:
    """The file at an http(s) address; a kept one of that sha256 is not asked for again. Raises UserError."""
    kept = folder / f"{sha256}.file"
    if kept.is_file() and sha256_file(kept) == sha256:
        return kept
    part = folder / "part.file"
    with atomic_path(part) as temporary:
        _retry(_host(url), lambda: _download(url, temporary))
    # whatever came is kept under what it is: when the user pins it, it need not come again
    return part.rename(folder / f"{sha256_file(part)}.file")


def archive_files(archive: Path, pattern: str) -> dict[str, bytes]:
    """The regular files of a tar archive whose path ends in `pattern`; read, never unpacked. Raises UserError."""
    try:
        with tarfile.open(archive) as tar:
            members = [member for member in tar if member.isfile() and PurePosixPath(member.name).match(pattern)]
            return {member.name: content.read() for member in members if (content := tar.extractfile(member))}
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{archive.name} is not a tar archive that can be read: {error}") from None


def _source_distribution(client: "PyPISimple", name: str, version: str, index: str) -> "DistributionPackage":
    from pypi_simple import NoSuchProjectError

    try:
        page = client.get_project_page(name, timeout=TIMEOUT_SECONDS)
    except NoSuchProjectError:
        raise UserError(f"{index} has no package {name}") from None
    found = {str(package.version): package for package in page.packages if package.package_type == "sdist"}
    if version not in found:
        raise UserError(f"{index} has no source distribution {name} {version}; it has {', '.join(found) or 'none'}")
    if "sha256" not in found[version].digests:
        raise UserError(f"{index} gives no sha256 for {name} {version}, so it cannot be verified; use another index")
    return found[version]


def _download(url: str, path: Path) -> None:
    import requests

    with requests.get(url, stream=True, timeout=TIMEOUT_SECONDS) as answer, path.open("wb") as file:
        answer.raise_for_status()
        length = answer.headers.get("Content-Length", "")
        with _Received(int(length) if length.isdigit() else None) as received:
            for chunk in answer.iter_content(CHUNK_BYTES):
                file.write(chunk)
                received.update(len(chunk))


def _retry(where: str, action: Callable[[], Result]) -> Result:
    """Try again with growing waits while the network is at fault; UserError when it stays so."""
    from requests import RequestException

    for wait in (*RETRY_WAITS_SECONDS, None):
        try:
            return action()
        except RequestException as error:
            refused = error.response is not None and error.response.status_code not in RETRIED_STATUS
            if refused or wait is None:
                raise UserError(f"{where} cannot be read: {_reason(error)}; check the network and try again") from None
            print(f"download  {where}: {_reason(error)}; trying again in {wait:g} s", flush=True)
            time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def _reason(error: "RequestException") -> str:
    """The last cause of a network error, without the address and what wraps it."""
    if error.response is not None:
        return f"HTTP {error.response.status_code} {error.response.reason}"
    cause = error.args[0] if error.args else error
    cause = getattr(cause, "reason", cause)
    return f"{type(error).__name__} ({str(cause).rpartition(': ')[2]})"


def _host(url: str) -> str:
    """The address without path, user name and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


class _Received:
    """Counts bytes as they come, shown as progress if the whole is known (pypi-simple's ProgressTracker)."""

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
