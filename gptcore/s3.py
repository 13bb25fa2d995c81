"""S3 and compatible stores, through s3fs.

Endpoint, region and credentials come from the usual AWS environment (AWS_ENDPOINT_URL, AWS_PROFILE, ...).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gptcore.errors import UserError

# detect a lost server within seconds: no newer checkpoint is written while waiting
TIMEOUTS = {"connect_timeout": 5, "read_timeout": 60, "retries": {"max_attempts": 3}}


def s3_files(what: str) -> Any:
    """s3fs's file system; `what` needs it, for the error message. Raises UserError when s3fs is not installed.

    Call it inside `oserrors`.
    """
    try:
        from s3fs import S3FileSystem  # imported here: only S3 users need it installed
    except ImportError:
        raise UserError(f"{what} need the package s3fs; install it with `pip install s3fs`") from None
    return S3FileSystem(skip_instance_cache=True, use_listings_cache=False, config_kwargs=TIMEOUTS)


@contextmanager
def oserrors() -> Iterator[None]:
    """Turn botocore's errors into OSError: s3fs does so for server responses, but not when there is no response."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise OSError(str(error)) from error
