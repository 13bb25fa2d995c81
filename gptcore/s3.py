"""S3 and compatible stores, through s3fs.

Endpoint, region and credentials come from the usual AWS environment (AWS_ENDPOINT_URL, AWS_PROFILE, ...).

s3fs's own `glob`, `ls`, `exists` and `rm` take keys for patterns, and some errors for absences. So what is there is
asked of S3 itself, with `call_s3`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from gptcore.errors import UserError

# detect a lost server within seconds: no newer checkpoint is written while waiting
TIMEOUTS = {"connect_timeout": 5, "read_timeout": 60, "retries": {"max_attempts": 3}}


class Listed(NamedTuple):
    """An object of a bucket."""

    key: str
    size: int
    version: str


class NoBucket(OSError):
    """The bucket does not exist. This is not FileNotFoundError, with which an empty prefix could be confused."""


def s3_files(what: str) -> Any:
    """s3fs's file system; `what` needs it, for the error message. Raises UserError when s3fs is not installed.

    Call it inside `oserrors`. It holds a client with its connections, so use one for many objects.
    """
    try:
        from s3fs import S3FileSystem  # imported here: only S3 users need it installed
    except ImportError:
        raise UserError(f"{what} need the package s3fs; install it with `pip install s3fs`") from None
    return S3FileSystem(skip_instance_cache=True, use_listings_cache=False, config_kwargs=TIMEOUTS)


def bucket_and_key(files: Any, address: str) -> tuple[str, str]:
    """The two parts of s3://bucket/key, where a bucket may be an ARN. The key is any text, also with `?` or `#`."""
    bucket = files.split_path(address)[0]
    return bucket, address.removeprefix(f"s3://{bucket}").removeprefix("/")


def listed(files: Any, bucket: str, prefix: str) -> Iterator[Listed]:
    """All objects whose keys begin with `prefix`, sorted, in one request per 1,000. Raises NoBucket, OSError."""
    more: dict[str, str] = {}
    while True:
        try:
            page = files.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **more)
        except FileNotFoundError:  # S3 answers with an empty list where nothing has the prefix
            raise NoBucket(f"the bucket {bucket} does not exist") from None
        yield from (Listed(each["Key"], each["Size"], each["ETag"]) for each in page.get("Contents", ()))
        if not page.get("IsTruncated"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


@contextmanager
def oserrors() -> Iterator[None]:
    """Turn botocore's errors into OSError: s3fs does so for server responses, but not when there is no response."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise OSError(str(error)) from error
