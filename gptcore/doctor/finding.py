"""A finding: one line about one thing."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """What was looked at, whether it will do, what is there, and what to do if that is too little.

    `note`: a training can run, but something is left out or could be better. `missing`: no training can run.
    """

    what: str
    state: Literal["ok", "note", "missing"]
    found: str
    remedy: str = ""
