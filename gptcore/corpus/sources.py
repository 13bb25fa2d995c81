"""Sources of a corpus: a package on the package index, http(s), s3://, the Hugging Face hub, or local files.

A source is a sequence of files, each downloaded when it is needed.
"""

import configparser
import re
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple
from urllib.parse import urlsplit

from gptcore.corpus.fetch import fetch_package, http_answer
from gptcore.corpus.folders import local_files, readable
from gptcore.corpus.hub import HubSource, hub_files
from gptcore.corpus.hub_addresses import hub_addresses
from gptcore.corpus.left_out import LeftOut, shown
from gptcore.corpus.records import Format, known_format
from gptcore.corpus.store import Kept, Store
from gptcore.corpus.transfer import Reader, fetch, retry
from gptcore.errors import UserError
from gptcore.files import sha256_file

# package://<name>/<version>/<pattern of files inside the source distribution>
PACKAGE = re.compile(r"package://(?P<name>[\w.-]+)/(?P<version>[\w.!+-]+)/(?P<pattern>.+)")
REMOTE = re.compile(r"(?P<address>(https?|s3)://[^/#]+/[^#]*)(#sha256=(?P<sha256>[0-9a-f]{64}))?")
FORMS = "package://name/version/pattern, http(s)://…, s3://bucket/…, hf://owner/name, or files of this machine"


class Whole(NamedTuple):
    """A complete local file, with its size and sha256."""

    path: Path
    size: int
    sha256: str


class SourceFile(NamedTuple):
    """One file of a source. `fetch` downloads it; raises UserError, Unavailable."""

    address: str
    form: Format
    fetch: Callable[[], Whole]
    title: str = ""


def check_source(source: str) -> str:
    """Raises ValueError if `source` is not a valid source."""
    if source.startswith("hf://"):
        HubSource.parse(source)
    elif "://" in source and not PACKAGE.fullmatch(source) and not REMOTE.fullmatch(source):
        raise ValueError(f"must be {FORMS}")
    return source


def locate(
    source: str, form: Format | None, root: Path, store: Store, fields: list[str] | None, left_out: LeftOut
) -> Iterator[SourceFile]:
    """The files of `source` in order. Relative paths are resolved against `root`; `form` defaults to the suffix's.

    `left_out` decides which files of folders, prefixes and patterns are not read.

    From the hub: the `fields` of the rows, or with None the files that hold the rows. Raises UserError, Unavailable.
    """
    if package := PACKAGE.fullmatch(source):
        yield from _package(package["name"], package["version"], package["pattern"], form, store, left_out)
    elif source.startswith("hf://") and fields is None:
        for address in retry(partial(hub_addresses, source)):
            yield SourceFile(address, form or _form(address), partial(_fetch, address, "", store, _reader(address)))
    elif source.startswith("hf://"):
        assert fields is not None
        for address, kept in hub_files(source, fields, store):
            yield SourceFile(address, "jsonl", partial(_kept, kept, store))
    elif remote := REMOTE.fullmatch(source):
        sha256 = remote["sha256"] or ""
        for address, reader in _remote(remote["address"], left_out):
            yield SourceFile(address, form or _form(address), partial(_fetch, address, sha256, store, reader))
    else:
        for path in local_files(root, source, left_out):
            address = shown(path.relative_to(root) if path.is_relative_to(root) else path)
            yield SourceFile(address, form or _form(path.name), partial(_read, path))


def _read(path: Path) -> Whole:
    with readable(path):
        return Whole(path, path.stat().st_size, sha256_file(path))


def _remote(address: str, left_out: LeftOut) -> Iterator[tuple[str, Reader]]:
    if not address.startswith("s3://"):
        yield address, _reader(address)
        return
    from gptcore.corpus.buckets import bucket_answer, bucket_objects

    fixed = address.partition("*")[0].rpartition("/")[0] if "*" in address else address.rstrip("/")
    pattern = address[len(fixed) + 1 :].split("/") if "*" in address else []
    objects = bucket_objects(address)
    taken = [each for each in objects if each == address or left_out.takes(each[len(fixed) + 1 :].split("/"), pattern)]
    if not taken:
        raise UserError(f"data.source: {address} holds nothing but what is left out: {left_out}")
    for each in taken:
        yield each, partial(bucket_answer, each)


def _reader(address: str) -> Reader:
    return partial(http_answer, address)


def _fetch(address: str, sha256: str, store: Store, reader: Reader) -> Whole:
    return _kept(fetch(address, sha256, store, reader), store)


def _kept(kept: Kept, store: Store) -> Whole:
    return Whole(store.path(kept.sha256), kept.size, kept.sha256)


def _package(
    name: str, version: str, pattern: str, form: Format | None, store: Store, left_out: LeftOut
) -> Iterator[SourceFile]:
    """Files of a source distribution, with titles from a metadata.txt beside them, if any (INI, a section per file)."""
    archive = fetch_package(name, version, store.folder)
    try:
        with tarfile.open(archive) as tar:
            members = {member.name: member for member in tar if member.isfile()}
            titles = configparser.ConfigParser(interpolation=None, strict=False)
            beside = str(PurePosixPath(pattern).parent / "metadata.txt")
            for metadata in [each for path, each in members.items() if PurePosixPath(path).match(beside)]:
                titles.read_string(_content(tar, metadata).read().decode())
            parts = pattern.split("/")
            matching = sorted(path for path in members if PurePosixPath(path).match(pattern))
            matching = [path for path in matching if left_out.takes([PurePosixPath(path).name], parts)]
            if not matching:
                raise UserError(f"data.source: the source distribution of {name} {version} has no files {pattern}")
            for path in matching:
                kept = store.add_stream(f"package://{name}/{version}/{path}", _content(tar, members[path]))
                title = titles.get(PurePosixPath(path).stem, "title", fallback="")
                yield SourceFile(kept.address, form or _form(path), partial(_kept, kept, store), title)
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{archive.name} is not a tar archive that can be read: {error}") from None


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    assert content, "it is a regular file"
    return content


def _form(address: str) -> Format:
    return known_format(urlsplit(address).path if "://" in address else address) or "text"
