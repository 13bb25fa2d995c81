"""Cut a text that comes in pieces before the first of some strings, without giving out a part of one."""

from collections.abc import Sequence


class Stops:
    """The string that ends first ends the text; of those that end together, the longest: as if read by characters."""

    def __init__(self, strings: Sequence[str]) -> None:
        self.strings = [each for each in strings if each]
        self.held = ""
        self.stopped = False

    def push(self, piece: str) -> str:
        """The text that is sure to be before a stop string; after one, `stopped` is true."""
        if not self.strings:
            return piece
        text = self.held + piece
        found = [(at + len(each), at) for each in self.strings if (at := text.find(each)) >= 0]
        if found:
            self.stopped, self.held = True, ""
            return text[: min(found)[1]]
        kept = max((_begun(text, each) for each in self.strings), default=0)
        self.held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def end(self) -> str:
        """What was kept back when the text has ended without a stop string."""
        held, self.held = self.held, ""
        return held


def _begun(text: str, string: str) -> int:
    """The length of the longest beginning of `string` that `text` ends with."""
    return next((size for size in range(min(len(string) - 1, len(text)), 0, -1) if text.endswith(string[:size])), 0)
