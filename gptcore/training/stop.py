"""SIGINT and SIGTERM as a request that training looks at after each step."""

import signal
from types import FrameType

from gptcore.training import distributed


class StopRequest:
    """Set by SIGINT or SIGTERM; the loop looks at it after each step.

    A second signal ends the process as usual, but not one rank of several, to which a first one can come twice.
    """

    def __init__(self) -> None:
        self.made = False
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, self._make)

    def _make(self, number: int, frame: FrameType | None) -> None:
        self.made = True
        if distributed.count() == 1:
            signal.signal(number, signal.SIG_DFL)
