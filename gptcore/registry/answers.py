"""What an error of the registry means: a person must mend something, or the same question may be answered later."""

from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import shorten

from mlflow.exceptions import MlflowException

from gptcore.addresses import redacted
from gptcore.errors import Unavailable, UserError

UNAUTHORIZED = 401
WORTH_A_RETRY = (408, 425, 429)  # of the HTTP statuses that blame the client
SERVICES = ("requests", "urllib3", "sqlalchemy", "botocore", "boto3")  # whose errors MLflow passes on as they are


@contextmanager
def answers(uri: str) -> Iterator[None]:
    """Raise any error of the registry at `uri` as UserError or Unavailable. No error is read as "there is none"."""
    try:
        yield
    except MlflowException as error:
        status = int(error.get_http_status_code())  # type: ignore[no-untyped-call]
        if 400 <= status < 500 and status not in WORTH_A_RETRY:
            remedy = "; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" if status == UNAUTHORIZED else ""
            raise UserError(f"the MLflow registry {redacted(uri)} refuses: {_line(error)}{remedy}") from error
        raise _unavailable(uri, error) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in SERVICES:
            raise
        raise _unavailable(uri, error) from error


def _unavailable(uri: str, error: Exception) -> Unavailable:
    return Unavailable(f"the MLflow registry {redacted(uri)} does not answer: {_line(error)}; try again later")


def _line(error: Exception) -> str:
    """The beginning will do: a proxy may answer with a whole page."""
    return shorten(redacted(str(error)), width=600, placeholder=" ...")
