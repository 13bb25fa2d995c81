"""A Prefect server that is away, restarting or failing: it has said nothing, so nothing has ended."""

from collections.abc import Iterator
from contextlib import contextmanager

from httpx import HTTPStatusError, TransportError


@contextmanager
def unless_away() -> Iterator[None]:
    """Pass over a question to the Prefect server that gets no answer; whoever asks asks again.

    The client itself has tried for minutes, with growing waits. A refusal (HTTP 4xx) is an answer, and is raised.
    """
    try:
        yield
    except TransportError:
        pass
    except HTTPStatusError as error:
        if error.response.status_code < 500:
            raise
