"""Moving an alias: the journal has a line for each move before the alias is moved, and the alias follows the journal.

MLflow's aliases can be overwritten by a host that has read them long ago; the journal's lines cannot. So whoever has
set the alias reads the journal again: if there is a newer line, the alias goes where that one says. In the end the
alias is where the last line says, unless somebody moves it in MLflow itself, or a run is killed between line and alias.
Both are noticed the next time the journal is read, and get a line of their own.
"""

import time
from collections.abc import Callable, Iterable

from gptcore.errors import UserError
from gptcore.registry.journal import Journal, Line, holder

MOVE_SECONDS = 1.0  # between the line and the alias of a move that is on its way
FOUND = "found there: moved by hand in MLflow, or by a run that was killed while it moved the alias"
BEGAN = "found there when the journal began"


class Moves:
    """`holds` says which version has an alias in MLflow now, `put` moves the alias."""

    def __init__(self, journal: Journal, holds: Callable[[str], int | None], put: Callable[[str, int], None]) -> None:
        self.journal, self.holds, self.put = journal, holds, put

    def notice(self, alias: str) -> list[Line]:
        """The journal; first writes a line if the alias is not where the journal says."""
        lines, number = self.journal.lines(), self.holds(alias)
        if number == holder(lines, alias):
            return lines
        time.sleep(MOVE_SECONDS)
        if lines == self.journal.lines() and number == self.holds(alias):
            known = any(line.alias == alias for line in lines)
            self.journal.add(lines, alias, number, FOUND if known else BEGAN)  # or somebody else has just done it
        return self.journal.lines()

    def lines(self, aliases: Iterable[str]) -> list[Line]:
        """The journal, after a look at each of the aliases and those that the journal knows."""
        for alias in sorted({*aliases, *(line.alias for line in self.journal.lines())}):
            self.notice(alias)
        return self.journal.lines()

    def move(self, alias: str, number: int, why: str, verdict: str = "", only_from: int | None = None) -> None:
        """Give the alias to version `number`. Raises UserError if another version than `only_from` has it."""
        lines = self.notice(alias)
        while only_from in (None, holder(lines, alias)):
            if self.journal.add(lines, alias, number, why, verdict):
                break
            lines = self.journal.lines()
        else:
            now = holder(lines, alias)
            raise UserError(f"{alias} was just moved from version {only_from} to {now}; nothing was moved here")
        while (last := holder(self.journal.lines(), alias)) is not None:
            self.put(alias, last)
            if holder(self.journal.lines(), alias) == last:
                break
