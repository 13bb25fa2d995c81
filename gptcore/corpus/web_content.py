"""Check the content of a web server's answer while it comes: it must end where it says, and be no error page."""

import re
import zlib
from collections.abc import Iterator

HEAD_BYTES = 1 << 14  # enough for the comments that stand before a page
# a page, or the error of a file store, behind a byte-order mark, white space, comments and declarations
BEFORE = rb"(?:\xef\xbb\xbf)?(?:\s|<!--.*?-->|<\?xml.*?\?>)*"
PAGE = re.compile(BEFORE + rb"(?:<!doctype html|<html\b|<Error>\s*<Code>)", re.IGNORECASE | re.DOTALL)


def gunzipped(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Decompress gzip. Raises EOFError if it is cut short, zlib.error if it is damaged: requests takes the former."""
    member = zlib.decompressobj(wbits=31)
    for packed in blocks:
        while packed:
            if member.eof:
                member = zlib.decompressobj(wbits=31)
            yield member.decompress(packed)
            packed = member.unused_data
    if not member.eof:
        raise EOFError("the gzip data end in the middle")


def is_page(head: bytes) -> bool:
    return bool(PAGE.match(head))


def split_head(blocks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first HEAD_BYTES or more, if there are so many, and all blocks after them."""
    head = b""
    for block in blocks:
        head += block
        if len(head) >= HEAD_BYTES:
            break
    return head, blocks
