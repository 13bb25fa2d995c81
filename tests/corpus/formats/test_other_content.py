"""A file that is not what it is taken for is named for what it seems, with what to do about it."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.corpus.formats.test_records import refusal

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


def archive() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a.txt"))
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "to be")
    return file.getvalue()


@pytest.mark.parametrize("form", ["text", "jsonl", "csv", "parquet"])
@pytest.mark.parametrize(
    ("content", "line"),
    [
        (POINTER, "is a Git LFS pointer, not the file; run `git lfs pull`"),
        ("to be".encode("utf-16"), "is text in UTF-16; convert it to UTF-8: `iconv -f UTF-16 -t UTF-8`"),
        (b"\xfe\xff" + "to be".encode("utf-16-be"), "is text in UTF-16; convert"),
        ("to be".encode("utf-32"), "is text in UTF-32; convert"),
        (bz2.compress(b"to be"), "is packed with bzip2; unpack it, or pack it with gzip or zstd"),
        (lzma.compress(b"to be"), "is packed with xz; unpack it"),
        (gzip.compress(gzip.compress(b"to be")), "is packed twice; unpack it once"),
        (zipped(), "is a zip archive; unpack it, and name the folder"),
        (archive(), "is a tar archive; unpack it"),
        (gzip.compress(archive()), "is a tar archive; unpack it"),
    ],
)  # fmt: skip
def test_other_content(tmp_path: Path, form: str, content: bytes, line: str) -> None:
    assert refusal(tmp_path, form, content).startswith(f"corpus/a: {line}")  # type: ignore[arg-type]


def test_a_remedy_is_named_only_where_it_helps(tmp_path: Path) -> None:
    assert refusal(tmp_path, "text", b"PAR1\0\0").endswith("is a Parquet table; set data.format=parquet")
    assert refusal(tmp_path, "text", b"\x89PNG\r\n\0\0").endswith("is no text: it holds zero bytes")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            "größer als ASCII".encode("latin-1"),
            "byte 2 is 0xf6; it seems Latin-1 or Windows-1252; convert it",
        ),
        ("быть или не быть".encode("koi8-r"), "byte 0 is 0xc2; convert it to UTF-8"),
        ("größer".encode() + b"\xff and more", "byte 8 is 0xff; it seems damaged"),
        ("caffè".encode()[:-1], "byte 4 is 0xc3, and it ends in the middle of that character; it was cut short"),
    ],
)
def test_text_that_is_not_utf8(tmp_path: Path, content: bytes, line: str) -> None:
    assert refusal(tmp_path, "text", content).startswith(f"corpus/a: is not UTF-8 text: {line}")
