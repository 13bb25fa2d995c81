"""S3 objects as a source: a single object, all objects under a prefix, or all that match a pattern."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from gptcore.corpus.formats.records import known_format
from gptcore.corpus.ranges import total_of_rest
from gptcore.corpus.transfer import Answer, Wrong, retry
from gptcore.errors import Unavailable, UserError
from gptcore.s3 import Listed, NoBucket, bucket_and_key, listed, s3_files

BLOCK_BYTES = 8 << 20


def bucket_objects(address: str) -> dict[str, str]:
    """s3:// addresses and versions of the objects at `address`, sorted by name. Raises UserError, Unavailable.

    What exists under exactly this name comes before what the name would match as a pattern.
    """
    return retry(lambda: _objects(address))


@contextmanager
def bucket_answer(address: str, offset: int, version: str) -> Iterator[Answer]:
    """The object from byte `offset` on if it is still `version`, else from byte 0. Raises UserError, Unavailable."""
    from fsspec.asyn import sync

    with bucket_errors(address):
        files = _files()
        got = _rest(files, address, offset, version) if offset else None
        start = offset if got else 0
        got = got or _got(files, address)
    body, size = got["Body"], start + got["ContentLength"]

    def blocks() -> Iterator[bytes]:
        with bucket_errors(address):
            while block := sync(files.loop, body.read, BLOCK_BYTES):
                yield block

    try:
        yield Answer(start, size, got["ETag"], blocks())
    finally:
        _close(files, body)


@contextmanager
def bucket_errors(address: str) -> Iterator[None]:
    """Raise S3 errors as UserError if the user can fix them, else as Unavailable."""
    from aiohttp import ClientError as ConnectionBroken  # neither OSError nor botocore's
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        FlexibleChecksumError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
    )  # fmt: skip

    try:
        yield
    except NoBucket as error:
        raise UserError(f"{address}: {error}; see `aws s3 ls`") from None
    except FileNotFoundError:
        raise UserError(f"{address}: there is no such bucket or object; see `aws s3 ls`") from None
    except PermissionError as error:
        raise UserError(f"{address}: {_line(error)}; check AWS_PROFILE or the keys in the environment") from None
    except ParamValidationError as error:
        raise UserError(f"{address}: {_line(error)}") from None
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise UserError(
            f"{address}: {_line(error)}; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or for a public bucket FSSPEC_S3_ANON=true"
        ) from None
    except FlexibleChecksumError as error:
        raise Wrong(f"{address} came damaged: {_line(error)}; try again") from None
    except (OSError, BotoCoreError, ClientError, ConnectionBroken) as error:
        raise Unavailable(f"{address} cannot be read: {_line(error)}; check the network and try again") from None


def _objects(address: str) -> dict[str, str]:
    with bucket_errors(address):
        files = _files()
        bucket, key = bucket_and_key(files, address)
        if key and not key.endswith("/") and (version := _version(files, bucket, key)):
            return {address: version}
        below_key = f"{key}/" if key and not key.endswith("/") else key
        found = [each for each in listed(files, bucket, below_key) if each.size]
        is_prefix = bool(found)
        if not found and "*" in key:
            found = _matching(files, bucket, key)
    if not found:
        raise UserError(f"data.source: {address} holds no objects")
    if is_prefix and not any(known_format(each.key) for each in found):
        raise UserError(
            f"data.source: {address} holds no text, JSON Lines, Parquet or CSV files; name a pattern, with data.format"
        )
    return {f"s3://{bucket}/{each.key}": each.version for each in found}


def _matching(files: Any, bucket: str, pattern: str) -> list[Listed]:
    from fsspec.utils import glob_translate

    matches = re.compile(glob_translate(pattern)).match
    start = re.split(r"[*?[]", pattern)[0]
    return [each for each in listed(files, bucket, start) if each.size and matches(each.key)]


def _version(files: Any, bucket: str, key: str) -> str:
    """Empty if there is no object with this key. Another error is not taken for that."""
    try:
        return str(files.call_s3("head_object", Bucket=bucket, Key=key)["ETag"])
    except FileNotFoundError:
        return ""


def _got(files: Any, address: str, **wanted: str) -> Any:
    bucket, key = bucket_and_key(files, address)
    return files.call_s3("get_object", Bucket=bucket, Key=key, **wanted)


def _rest(files: Any, address: str, offset: int, version: str) -> Any:
    """The answer from `offset` on; None if the object is another now, or the answer is not what was asked for."""
    try:
        got = _got(files, address, Range=f"bytes={offset}-", IfMatch=version)
    except OSError as error:
        status = getattr(error.__cause__, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status in (412, 416):
            return None
        raise
    if total_of_rest(got.get("ContentRange", ""), offset) == offset + got["ContentLength"] and got["ETag"] == version:
        return got
    _close(files, got["Body"])
    return None


def _close(files: Any, body: Any) -> None:
    from fsspec.asyn import sync

    async def close() -> None:
        body.close()

    sync(files.loop, close)


def _files() -> Any:
    """One file system for all objects: a new one costs 0.4 s and new connections."""
    environment = frozenset(each for each in os.environ.items() if each[0].startswith(("AWS_", "FSSPEC_")))
    return _files_of(os.getpid(), environment)


@lru_cache(maxsize=1)
def _files_of(process: int, environment: frozenset[tuple[str, str]]) -> Any:
    return s3_files("data.source on S3")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
