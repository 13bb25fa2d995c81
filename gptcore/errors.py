"""What ends a command on purpose: a user's mistake, or a request to stop."""

STOPPED_EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: run it again and it goes on
MISTAKE_EXIT_CODE = 2
UNAVAILABLE_EXIT_CODE = 69  # EX_UNAVAILABLE: what it needs from outside does not answer now; worth a retry
LOST_EXIT_CODE = 76  # EX_PROTOCOL: another rank is gone, and this one cannot go on without it


class UserError(Exception):
    """Something the user can mend: one line that says what is wrong, where, and what to do."""


class Unavailable(UserError):
    """A server or network did not answer: nothing to mend here, the same command may succeed later."""


class Stopped(Exception):
    """SIGINT or SIGTERM arrived and the state to go on from has been written."""
