"""Turn SIGINT and SIGTERM into a stop request that training checks after each step."""

import signal
from types import FrameType

from gptcore.ranks import distributed


class StopRequest:
    """Set by SIGINT or SIGTERM; the loop checks it after each step.

    A second signal ends the process as usual. With several ranks it does not, as the first signal can arrive twice.
    """

    def __init__(self) -> None:
        self.made = False
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, self._make)

    def _make(self, number: int, frame: FrameType | None) -> None:
        self.made = True
        if distributed.count() == 1:
            signal.signal(number, signal.SIG_DFL)
