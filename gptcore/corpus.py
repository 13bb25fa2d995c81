"""Where text comes from: a package of the package index, an http(s) address, a file or a folder.

A corpus is a list of documents with titles, one JSON object a line. Its sha256 is that of the texts one after the
other in order, so that of a one-file corpus is what `sha256sum` prints for the file.
"""

import configparser
import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gptcore.errors import UserError
from gptcore.fetch import archive_files, fetch_package, fetch_url
from gptcore.files import atomic_path
from gptcore.params import Section

# package://<name>/<version>/<pattern of files inside the source distribution>
PACKAGE = re.compile(r"package://(?P<name>[\w.-]+)/(?P<version>[\w.!+-]+)/(?P<pattern>.+)")


class DataConfig(Section):
    """The corpus: where it comes from and which text it must be."""

    source: str = Field(min_length=1, description="package://name/version/pattern, https://…, or a file or folder")
    sha256: str = Field(
        pattern="^[0-9a-f]{64}$",
        description="digest of all texts in order; for a new corpus set 64 zeros, and the error tells the one found",
    )

    @field_validator("source")
    @classmethod
    def _known_scheme(cls, source: str) -> str:
        if "://" in source and not source.startswith(("http://", "https://")) and not PACKAGE.fullmatch(source):
            raise ValueError("must be package://name/version/pattern, http(s)://address, or a file or folder")
        return source


class Document(BaseModel):
    """One text of the corpus and what it is called."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    text: str


def corpus_documents(source: str, sha256: str, root: Path, scratch: Path) -> Iterator[Document]:
    """The documents of `source` in order of their file names; a relative path counts from `root`.

    What comes over the network is kept in `scratch`. Raises UserError.
    """
    if package := PACKAGE.fullmatch(source):
        yield from _package_documents(package["name"], package["version"], package["pattern"], scratch)
    elif "://" in source:
        yield _document(PurePosixPath(source).name, fetch_url(source, sha256, scratch).read_bytes())
    else:
        for file in _text_files(root / source):
            yield _document(file.name, file.read_bytes())


def write_documents(path: Path, documents: Iterable[Document], sha256: str) -> tuple[int, int]:
    """Write a corpus whose texts must have the given sha256; returns the counts of documents and bytes.

    Raises UserError, with the sha256 found, if it is another text; nothing is written then.
    """
    digest, count, size = hashlib.sha256(), 0, 0
    with atomic_path(path) as temporary:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            for document in documents:
                encoded = document.text.encode()
                digest.update(encoded)
                count, size = count + 1, size + len(encoded)
                file.write(document.model_dump_json() + "\n")
        if digest.hexdigest() != sha256:
            raise UserError(
                f"the text of data.source ({count:,} documents, {size:,} bytes) has the sha256 "
                f"{digest.hexdigest()}, not {sha256}; if it is the text you want, set data.sha256 to the former"
            )
    return count, size


def read_documents(path: Path) -> Iterator[Document]:
    """The documents of a corpus file, one at a time. Raises UserError."""
    try:
        with path.open("rb") as file:
            for line in file:
                yield Document.model_validate_json(line)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; the download stage makes it: `dvc repro download`") from None
    except ValidationError as error:
        what = error.errors()[0]["msg"]
        remedy = f"make it anew: `chmod u+w {path} && touch {path} && dvc repro download`"  # as for token files
        raise UserError(f"{path} is damaged: {what}; {remedy}") from None


def _package_documents(name: str, version: str, pattern: str, scratch: Path) -> Iterator[Document]:
    """Texts of a source distribution; their titles from a metadata.txt beside them (INI, a section a file), if any."""
    archive = fetch_package(name, version, scratch)
    metadata = str(PurePosixPath(pattern).parent / "metadata.txt")
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    for content in archive_files(archive, metadata).values():
        parser.read_string(content.decode())
    files = archive_files(archive, pattern)
    if not files:
        raise UserError(f"data.source: the source distribution of {name} {version} has no files {pattern}")
    for file, content in sorted(files.items()):
        yield _document(PurePosixPath(file).name, content, parser.get(PurePosixPath(file).stem, "title", fallback=""))


def _text_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = sorted(path.rglob("*.txt"))
    if not files:
        what = "holds no *.txt files" if path.is_dir() else "does not exist"
        raise UserError(f"data.source: {path} {what}; name a text file or a folder of *.txt files")
    return files


def _document(file: str, content: bytes, title: str = "") -> Document:
    """A text as it is, byte for byte; without a title its first line is the title."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text: byte {error.start:,} is {content[error.start]:#04x}") from None
    if not text.strip():
        raise UserError(f"{file} holds no text; leave it out of the corpus")
    return Document(title=title or text.strip().splitlines()[0].strip()[:100], text=text)
