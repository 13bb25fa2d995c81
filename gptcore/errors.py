"""Exceptions and exit codes for deliberate ends of a command: a user error, or a request to stop."""

import difflib
from collections.abc import Iterable

from gptcore.addresses import redacted

STOPPED_EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: run the command again to resume
MISTAKE_EXIT_CODE = 2
UNAVAILABLE_EXIT_CODE = 69  # EX_UNAVAILABLE: an external service does not respond; worth a retry
LOST_EXIT_CODE = 76  # EX_PROTOCOL: another rank is lost, and this one cannot continue without it


class UserError(Exception):
    """An error the user can fix: one line that says what is wrong, where, and what to do. It shows no secrets."""

    def __init__(self, line: str) -> None:
        super().__init__(redacted(line))


class Unavailable(UserError):
    """A server or network did not respond: there is nothing to fix, and the same command may succeed later."""


class Stopped(Exception):
    """SIGINT or SIGTERM arrived, and the resume state has been written."""


def known_names(given: str, known: Iterable[str]) -> str:
    """The end of a message about a name that is not known: the nearest that is, or all of them."""
    close = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(known)}"
