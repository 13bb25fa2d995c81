"""The journal: one line for each time an alias was moved. Lines are only ever added, and none is lost.

MLflow lets nobody overwrite a parameter of a run, so each line is a parameter of one run, named by its number. Of two
hosts that write the same line one gets an error, and takes the next number. A line holds the sha256 of the line before.

The run is the only one of an experiment that gets its name when the run is in it: two hosts cannot both give it.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from getpass import getuser
from hashlib import sha256
from socket import gethostname
from typing import Any
from uuid import uuid4

from mlflow import MlflowClient
from mlflow.entities import Experiment, ViewType
from mlflow.exceptions import MlflowException

from gptcore.errors import UserError
from gptcore.registry.pages import JOURNAL_TAGS

JOURNAL = "gpt-journal"
NEVER = datetime.min.replace(tzinfo=UTC)
LONGEST_REASON = 1000  # characters; MLflow cuts off a parameter after 6000


@dataclass(frozen=True)
class Line:
    """`was` and `to` are the versions that had the alias before and after; None is no version."""

    number: int
    text: str  # as MLflow keeps it
    when: datetime
    who: str
    alias: str
    was: int | None
    to: int | None
    why: str
    verdict: str  # sha256 of the verdict that the move follows from, if there is one
    before: str  # sha256 of the line before

    @property
    def digest(self) -> str:
        return sha256(self.text.encode()).hexdigest()

    @classmethod
    def read(cls, number: int, text: str) -> "Line":
        """What somebody else has written there is about no alias."""
        try:
            values: dict[str, Any] = json.loads(text)
            when = datetime.fromisoformat(values.pop("when"))
            return cls(number=number, text=text, when=when, was=values.pop("from"), **values)
        except (ValueError, TypeError, KeyError, AttributeError):
            nothing = dict.fromkeys(("was", "to"))
            return cls(
                number, text, NEVER, "?", alias="", why=f"not gptcore's: {text}", verdict="", before="", **nothing
            )


class Journal:
    """The lines in the registry behind `client`; `place` is where a database without a server stores its files."""

    def __init__(self, client: MlflowClient, place: str | None) -> None:
        self.client, self.place = client, place

    def lines(self) -> list[Line]:
        """All lines in their order; none if there is no journal yet."""
        if "run" not in self.__dict__ and not self.client.get_experiment_by_name(JOURNAL):
            return []
        params = self.client.get_run(self.run).data.params
        return [Line.read(int(name), text) for name, text in sorted(params.items()) if name.isdigit()]

    def add(self, after: Sequence[Line], alias: str, to: int | None, why: str, verdict: str = "") -> bool:
        """Write the line that follows the lines `after`; False if there are more of them meanwhile."""
        number = after[-1].number + 1 if after else 1
        entry = {
            "when": datetime.now(UTC).isoformat(),
            "who": f"{_user()}@{gethostname()}",
            "alias": alias,
            "from": holder(after, alias),
            "to": to,
            "why": why,
            "verdict": verdict,
            "before": after[-1].digest if after else "",
        }
        text = json.dumps(entry, ensure_ascii=False)
        try:
            self.client.log_param(self.run, f"{number:06}", text)
        except MlflowException:
            written = {line.number: line.text for line in self.lines()}
            if number not in written:
                raise
            return written[number] == text  # MLflow's client has repeated the request
        return True

    @cached_property
    def run(self) -> str:
        """The id of the run that holds the lines, made if there is none. Raises UserError if it is deleted."""
        found = self.client.get_experiment_by_name(JOURNAL) or self._begun()
        runs = self.client.search_runs([found.experiment_id], run_view_type=ViewType.ALL, order_by=["start_time"])
        if found.lifecycle_stage == "deleted":
            what, restore = "experiment", f"experiments restore --experiment-id {found.experiment_id}"
        elif not runs:
            raise UserError(
                f"the run of the experiment {JOURNAL} is gone, and the journal with it; rename the experiment"
            )
        elif runs[0].info.lifecycle_stage == "deleted":
            what, restore = "run", f"runs restore --run-id {runs[0].info.run_id}"
        else:
            return str(runs[0].info.run_id)
        raise UserError(f"the {what} that holds the journal {JOURNAL} is deleted; restore it: `mlflow {restore}`")

    def _begun(self) -> Experiment:
        made = self.client.create_experiment(f"{JOURNAL}-{uuid4().hex}", self.place, tags=JOURNAL_TAGS)
        run = self.client.create_run(made, run_name=JOURNAL)
        self.client.update_run(run.info.run_id, status="FINISHED")  # `set_terminated` prints lines
        try:
            self.client.rename_experiment(made, JOURNAL)
        except MlflowException:  # another host was faster, or this one's first request was answered too late
            if not self.client.get_experiment_by_name(JOURNAL):
                raise
        found = self.client.get_experiment_by_name(JOURNAL)
        assert found
        if found.experiment_id != made:
            self.client.delete_experiment(made)
        return found


def holder(lines: Sequence[Line], alias: str) -> int | None:
    """The version that has the alias, as the lines say."""
    return next((line.to for line in reversed(lines) if line.alias == alias), None)


def faults(lines: Sequence[Line]) -> Iterator[str]:
    """What shows that lines were changed or taken away."""
    number, sum_before = 0, ""
    for line in lines:
        if not line.alias:
            yield f"gptcore has not written line {line.number}"
        elif line.number != number + 1:
            yield f"line {line.number} follows line {number}: those between are missing"
        elif line.before != sum_before:
            yield f"line {line.number} does not follow from line {number}: one of the two was changed"
        number, sum_before = line.number, line.digest


def _user() -> str:
    try:
        return getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return str(os.getuid())
