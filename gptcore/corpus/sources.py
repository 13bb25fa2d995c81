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

from gptcore.corpus.addresses import check_object, check_path, check_web
from gptcore.corpus.allowed import require_allowed_address
from gptcore.corpus.fetch import fetch_package, http_answer
from gptcore.corpus.folders import local_files, readable
from gptcore.corpus.formats.records import Format, known_format
from gptcore.corpus.hub import HubSource, hub_files
from gptcore.corpus.hub_addresses import hub_addresses
from gptcore.corpus.left_out import LeftOut, shown
from gptcore.corpus.store import Kept, Store
from gptcore.corpus.transfer import Reader, fetch, retry
from gptcore.errors import UserError
from gptcore.files import sha256_file

# package://<name>/<version>/<pattern of files inside the source distribution>
PACKAGE = re.compile(r"package://(?P<name>[\w.-]+)/(?P<version>[\w.!+-]+)/(?P<pattern>.+)")
PIN = r"(#sha256=(?P<sha256>[0-9a-f]{64}))?"
WEB = re.compile(r"(?P<address>https?://[^/#]+/[^#]*)" + PIN)
S3 = re.compile(r"(?P<address>s3://(?P<bucket>[^/]+)/(?P<key>.*?))" + PIN, re.DOTALL)  # a key may hold any character
FORMS = "package://name/version/pattern, http(s)://…, s3://bucket/…, hf://owner/name, or files of this machine"


class Whole(NamedTuple):
    """A complete local file, with its size and sha256."""

    path: Path
    size: int
    sha256: str


class SourceFile(NamedTuple):
    """One file of a source. `fetch` downloads it; raises UserError, Unavailable.

    `version` asks the server for the version it has now, where there is a server.
    """

    address: str
    form: Format
    fetch: Callable[[], Whole]
    title: str = ""
    version: Callable[[], str] | None = None


def check_source(source: str) -> str:
    """Raises ValueError if `source` is not a valid source."""
    if source.startswith("hf://"):
        HubSource.parse(source)
    elif remote := WEB.fullmatch(source):
        check_web(remote["address"])
    elif remote := S3.fullmatch(source):
        check_object(remote["bucket"], remote["key"])
    elif "://" not in source:
        check_path(source)
    elif not PACKAGE.fullmatch(source):
        raise ValueError(f"must be {FORMS}")
    return source


def locate(
    source: str, form: Format | None, root: Path, store: Store, fields: list[str] | None, left_out: LeftOut
) -> Iterator[SourceFile]:
    """The files of `source` in order. Relative paths are resolved against `root`; `form` defaults to the suffix's.

    `left_out` decides which files of folders, prefixes and patterns are not read.

    From the hub: the `fields` of the rows, or with None the files that hold the rows. Raises UserError, Unavailable.
    """
    if "://" in source:
        require_allowed_address("data.source", re.sub(f"{PIN}$", "", source))
    if package := PACKAGE.fullmatch(source):
        yield from _package(package["name"], package["version"], package["pattern"], form, store, left_out)
    elif source.startswith("hf://") and fields is None:
        for address in retry(partial(hub_addresses, source)):
            yield _web_file(address, "", form, store)
    elif source.startswith("hf://"):
        assert fields is not None
        for address, kept in hub_files(source, fields, store):
            yield SourceFile(address, "jsonl", partial(_kept, kept, store))
    elif remote := WEB.fullmatch(source):
        yield _web_file(remote["address"], remote["sha256"] or "", form, store)
    elif remote := S3.fullmatch(source):
        yield from _bucket_files(remote["address"], remote["sha256"] or "", form, store, left_out)
    else:
        for path in local_files(root, source, left_out):
            address = shown(path.relative_to(root) if path.is_relative_to(root) else path)
            yield SourceFile(address, form or _form(path.name), partial(_read, path))


def _read(path: Path) -> Whole:
    with readable(path):
        return Whole(path, path.stat().st_size, sha256_file(path))


def _web_file(address: str, sha256: str, form: Format | None, store: Store) -> SourceFile:
    reader = partial(http_answer, address)
    named = form or _form(urlsplit(address).path)
    return SourceFile(
        address, named, partial(_fetch, address, sha256, store, reader), version=partial(_version, reader)
    )


def _bucket_files(
    address: str, sha256: str, form: Format | None, store: Store, left_out: LeftOut
) -> Iterator[SourceFile]:
    from gptcore.corpus.buckets import bucket_answer, bucket_objects

    objects = bucket_objects(address)
    taken = [each for each in objects if left_out.takes_object(address, each)]
    if not taken:
        raise UserError(f"data.source: {address} holds nothing but what is left out: {left_out}")
    for each in taken:
        fetched = partial(_fetch, each, sha256, store, partial(bucket_answer, each))
        yield SourceFile(each, form or _form(each), fetched, version=partial(str, objects[each]))


def _version(reader: Reader) -> str:
    with reader(0, "") as answer:  # does not read the content
        return answer.version


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


def _form(name: str) -> Format:
    return known_format(name) or "text"
