"""Say what a file seems to be when it is not the text or table that it was taken for."""

import codecs
import re

from gptcore.errors import UserError

HEAD_BYTES = 8192
UTF_16 = b"|".join(map(re.escape, (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)))
UTF_32 = b"|".join(map(re.escape, (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)))
CONVERT = "convert it to UTF-8: `iconv -f {} -t UTF-8`"
PACKED = "unpack it, or pack it with gzip or zstd"
ARCHIVE = "unpack it, and name the folder with its files"
# how a content begins, what it is, and what to do
SIGNATURES = (
    (rb"version https://git-lfs\.github\.com/spec/", "a Git LFS pointer, not the file", "run `git lfs pull`"),
    (UTF_32, "text in UTF-32", CONVERT.format("UTF-32")),
    (UTF_16, "text in UTF-16", CONVERT.format("UTF-16")),
    (rb"BZh[1-9]1AY&SY", "packed with bzip2", PACKED),
    (rb"\xfd7zXZ\0", "packed with xz", PACKED),
    (rb"\x04\x22\x4d\x18", "packed with lz4", PACKED),
    (rb"\x1f\x8b|\x28\xb5\x2f\xfd", "packed twice", "unpack it once"),
    (rb"PK\x03\x04", "a zip archive", ARCHIVE),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", ARCHIVE),
    (rb"Rar!\x1a\x07", "a rar archive", ARCHIVE),
    (rb"(?s:.{257})ustar", "a tar archive", ARCHIVE),
    (rb"PAR1", "a Parquet table", "set data.format=parquet"),
    (rb"%PDF-", "a PDF", "extract its text first"),
)  # fmt: skip


def refuse_other_content(head: bytes, address: str, table: bool) -> None:
    """Raise UserError if a content that begins with `head` is no text; or, with `table`, if it is no Parquet table."""
    if table and head.startswith(b"PAR"):
        return
    for signature, what, remedy in SIGNATURES:
        if re.match(signature, head):
            raise UserError(f"{address}: is {what}; {remedy}")
    if not table and b"\0" in head:
        raise UserError(f"{address}: is no text: it holds zero bytes")


def not_utf8(address: str, error: UnicodeDecodeError, offset: int | None = None) -> UserError:
    """The error for text that cannot be decoded; `offset` is the place of the decoded block in the file, if known."""
    block, start = error.object, error.start
    where = f"byte {offset + start:,} is" if offset is not None else f"after {_context(block[:start])} comes"
    what = f"{address}: is not UTF-8 text: {where} {block[start]:#04x}"
    if start and error.reason == "unexpected end of data":
        return UserError(f"{what}, and it ends in the middle of that character; it was cut short")
    before, after = block[max(start - HEAD_BYTES, 0) : start], block[start : start + HEAD_BYTES]
    foreign = sum(byte >= 0x80 for byte in after)
    if before.isascii() and foreign <= (len(before) + len(after)) / 4:  # in other alphabets most bytes are not ASCII
        return UserError(f"{what}; it seems Latin-1 or Windows-1252; {CONVERT.format('WINDOWS-1252')}")
    return UserError(f"{what}; {'convert it to UTF-8' if before.isascii() else 'it seems damaged'}")


def _context(before: bytes) -> str:
    return ascii(before[-20:].decode(errors="ignore"))
