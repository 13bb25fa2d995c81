"""Read what a server says about a part of a file (`Content-Range`), and tell whether it is the part asked for."""

import re

DESCRIBED = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


def total_of_rest(content_range: str, offset: int) -> int | None:
    """The size of the whole file if the answer is its bytes from `offset` to the end, else None."""
    match = DESCRIBED.fullmatch(content_range.strip())
    if not match:
        return None
    start, end, total = map(int, match.groups())
    return total if start == offset and end == total - 1 else None
