"""S3 and what speaks its language, through s3fs.

Endpoint, region and credentials come from the usual AWS environment (AWS_ENDPOINT_URL, AWS_PROFILE, ...).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gptcore.errors import UserError

# a server that is gone is noticed within seconds: meanwhile no newer checkpoint is written
TIMEOUTS = {"connect_timeout": 5, "read_timeout": 60, "retries": {"max_attempts": 3}}


def s3_files(what: str) -> Any:
    """s3fs' file system, for `what`. Raises UserError when s3fs is not installed, and what `oserrors` turns."""
    try:
        from s3fs import S3FileSystem  # only who uses it needs to have it, and waits for its import
    except ImportError:
        raise UserError(f"{what} need the package s3fs; install it with `pip install s3fs`") from None
    return S3FileSystem(skip_instance_cache=True, use_listings_cache=False, config_kwargs=TIMEOUTS)


@contextmanager
def oserrors() -> Iterator[None]:
    """s3fs raises OSError for what the server answers, and lets botocore's own through when there is no answer."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise OSError(str(error)) from error
