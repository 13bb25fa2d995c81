"""S3 objects as a source: a single object, all objects under a prefix, or all that match a pattern."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gptcore.corpus.transfer import Answer, retry
from gptcore.errors import Unavailable, UserError
from gptcore.s3 import s3_files

BLOCK_BYTES = 8 << 20


def bucket_objects(address: str) -> dict[str, str]:
    """s3:// addresses and versions of the objects at `address`, sorted by name. Raises UserError, Unavailable."""
    return retry(lambda: _objects(address))


@contextmanager
def bucket_answer(address: str, offset: int, version: str) -> Iterator[Answer]:
    """The object from byte `offset` on if it is still `version`, else from byte 0. Raises UserError, Unavailable."""
    with bucket_errors(address):
        # each attempt opens its own reader, which requests the ETag first and then only blocks of that ETag
        file = s3_files("data.source on S3").open(address, "rb", block_size=BLOCK_BYTES, cache_type="none")
        found = file.details["ETag"]
        start = offset if found == version else 0
        file.seek(start)
    yield Answer(start, file.size, found, _blocks(address, file))


@contextmanager
def bucket_errors(address: str) -> Iterator[None]:
    """Raise S3 errors as UserError if the user can fix them, else as Unavailable."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{address}: there is no such bucket or object; see `aws s3 ls`") from None
    except PermissionError as error:
        raise UserError(f"{address}: {_line(error)}; check AWS_PROFILE or the keys in the environment") from None
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise UserError(
            f"{address}: {_line(error)}; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or for a public bucket FSSPEC_S3_ANON=true"
        ) from None
    except (OSError, BotoCoreError, ClientError) as error:
        raise Unavailable(f"{address} cannot be read: {_line(error)}; check the network and try again") from None


def _objects(address: str) -> dict[str, str]:
    with bucket_errors(address):
        files = s3_files("data.source on S3")
        if "*" not in address and files.info(address)["type"] == "file":
            return {address: files.info(address)["ETag"]}
        found = files.glob(address if "*" in address else f"{address.rstrip('/')}/**", detail=True)
    objects = {f"s3://{name}": each["ETag"] for name, each in sorted(found.items()) if each["size"]}
    if not objects:
        raise UserError(f"data.source: {address} holds no objects")
    return objects


def _blocks(address: str, file: Any) -> Iterator[bytes]:
    with bucket_errors(address), file:
        while block := file.read(BLOCK_BYTES):
            yield block


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
