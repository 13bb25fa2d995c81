"""Decompress gzip and zstd files, detected by their first bytes, not by their names."""

import gzip
import io
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from gptcore.errors import UserError

PACKED_SUFFIXES = (".gz", ".zst")
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")  # a frame, or one to skip, as pzstd writes first
ZSTD_WINDOW_BYTES = 1 << 31  # the longest that zstd --long=31 asks for; memory for it is taken only then
PACKED_BLOCK_BYTES = 1 << 16


def unpacked(file: BinaryIO, address: str) -> io.BufferedReader:
    """The decompressed content if the first bytes are those of gzip or zstd, else the content as is."""
    magic = file.read(4)
    file.seek(0)
    if magic.startswith(GZIP_MAGIC):
        return io.BufferedReader(_Blocks(_gzip_blocks(file, address)))
    if ZSTD_MAGIC.match(magic):
        return io.BufferedReader(_Blocks(_zstd_blocks(file, address)))
    return io.BufferedReader(file)  # type: ignore[arg-type]


def _gzip_blocks(file: BinaryIO, address: str) -> Iterator[bytes]:
    try:
        unpacked = gzip.GzipFile(fileobj=file)
        while block := unpacked.read(PACKED_BLOCK_BYTES):
            yield block
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{address}: cannot be unpacked: {error}; fetch or make it anew") from None


def _zstd_blocks(file: BinaryIO, address: str) -> Iterator[bytes]:
    """Decompress all frames: the library's own reader stops after the first and accepts a truncated one as complete."""
    import zstandard

    unpacking = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)
    frame = unpacking.decompressobj()
    try:
        while packed := file.read(PACKED_BLOCK_BYTES):
            while packed:
                if frame.eof:
                    frame = unpacking.decompressobj()
                yield frame.decompress(packed)
                packed = frame.unused_data
    except zstandard.ZstdError as error:
        raise UserError(f"{address}: cannot be unpacked: {error}; {_remedy(str(error))}") from None
    if not frame.eof:
        raise UserError(f"{address}: cannot be unpacked: it ends in the middle; fetch or make it anew")


def _remedy(error: str) -> str:
    if "memory" in error:
        return "pack it with a shorter window, `zstd --long=27`"
    return "pack it without a dictionary" if "ictionary" in error else "fetch or make it anew"


class _Blocks(io.RawIOBase):
    """A readable file over an iterator of byte blocks."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self.blocks, self.rest = blocks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.rest:
            if (block := next(self.blocks, None)) is None:
                return 0
            self.rest = memoryview(block)
        count = min(len(buffer), len(self.rest))
        buffer[:count], self.rest = self.rest[:count], self.rest[count:]
        return count


def seekable(file: io.BufferedReader) -> BinaryIO:
    """A seekable file with the content of `file`, for Parquet, which is read from its end.

    Decompressed content goes to an anonymous temporary file, which disappears even if the process is killed.
    """
    if file.seekable():
        return file
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    shutil.copyfileobj(file, unpacked, 1 << 20)
    unpacked.seek(0)
    return unpacked
