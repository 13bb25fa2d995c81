"""Check the addresses of sources when params.yaml is read: what can never be found is refused before anything runs."""

import os
import re
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

PATH_BYTES, NAME_BYTES, KEY_BYTES = 4095, 255, 1024  # the limits of Linux and macOS, and those of S3
BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}|arn:.+")


def check_web(address: str) -> SplitResult:
    """The parts of an http(s) address. Raises ValueError."""
    try:
        parts = urlsplit(address)
        _ = parts.port  # looks whether there can be such a port
        (parts.hostname or "").encode("idna")  # looks at the length of each label
    except ValueError as error:
        raise ValueError(f"is no web address: {error}") from None
    return parts


def check_object(bucket: str, key: str) -> None:
    """Raises ValueError if S3 has no such names."""
    if not BUCKET.fullmatch(bucket):
        raise ValueError(f"names no bucket: {bucket!r}")
    _check_pattern(key)
    if (size := len(key.encode())) > KEY_BYTES:
        raise ValueError(f"has a key of {size:,} bytes; S3 takes {KEY_BYTES:,}")


def check_path(path: str) -> None:
    """Raises ValueError if no file can have this name."""
    _check_pattern(path)
    if not path or "\0" in path:
        raise ValueError("names no file")
    encoded = os.fsencode(path)
    longest = max(map(len, encoded.split(b"/")))
    if len(encoded) > PATH_BYTES or longest > NAME_BYTES:
        size = len(encoded) if len(encoded) > PATH_BYTES else longest
        raise ValueError(f"is too long for a path: {size:,} bytes; {PATH_BYTES:,} are possible, {NAME_BYTES} in a name")
    try:
        Path(path).expanduser()
    except RuntimeError:
        raise ValueError(f"names a user that this machine does not have: {path.partition('/')[0]}") from None


def _check_pattern(pattern: str) -> None:
    if any("**" in part and part != "**" for part in pattern.split("/")):
        raise ValueError("has ** within a name; it stands for folders, as in texts/**/*.txt")
