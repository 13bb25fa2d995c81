"""Runs on several hosts promote in one registry, their requests in any order: in the end the best model is champion."""

import shutil
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from threading import Semaphore, Thread
from typing import Any

import mlflow
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from gptcore.registry.champion import crown
from gptcore.registry.journal import JOURNAL, faults, holder
from gptcore.registry.tracking import MODEL, Registry
from tests.support.figures import lower


class Killed(BaseException):
    pass


class Run:
    """Registers a version and promotes it in a thread, one request at each `step`; killed before request `killed`."""

    def __init__(self, registry: Registry, bits: float, killed: int) -> None:
        self.registry, self.bits, self.killed = copy(registry), bits, killed
        self.registry.client = Stepped(registry.client, self)  # type: ignore[assignment]
        self.registry.__dict__.pop("moves", None)  # those of the other client
        self.go, self.waits = Semaphore(0), Semaphore(0)
        self.number, self.requests, self.ended, self.wins = 0, 0, False, False
        self._begin()
        self.waits.acquire()

    def step(self) -> None:
        if not self.ended:
            self.go.release()
            self.waits.acquire()

    def finish(self) -> None:
        while not self.ended:
            self.step()

    def pause(self) -> None:
        self.waits.release()
        self.go.acquire()
        self.requests += 1
        if self.requests == self.killed:
            raise Killed

    def _promote(self) -> None:
        try:
            if not self.number:
                self.number = register(self.registry, self.bits)
            ruling = crown(self.registry, self.number, lower)
            self.wins = ruling.wins
            self.registry.tag(self.number, {"promotion": ruling.because})
            self.ended = True
            self.waits.release()
        except Killed:
            self._begin()

    def _begin(self) -> None:
        Thread(target=self._promote, daemon=True).start()


class Stepped:
    """MLflow's client, for which the run waits before each request."""

    def __init__(self, client: mlflow.MlflowClient, run: Run) -> None:
        self.client, self.run = client, run

    def __getattr__(self, name: str) -> Any:
        self.run.pause()
        return getattr(self.client, name)


def register(registry: Registry, bits: float) -> int:
    tags = {"bits_per_byte": str(bits), "baseline_bits_per_byte": "9", "validation_text_sha256": "a"}
    return int(registry.client.create_model_version(MODEL, "file:///nowhere", tags=tags).version)


@pytest.fixture(scope="module")
def registry(mlflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    database = shutil.copy(mlflow_database, tmp_path_factory.mktemp("champion"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("gptcore.registry.moves.MOVE_SECONDS", 0.0)
        yield Registry(f"sqlite:///{database}", Path(database).parent)


STALE = (
    [0] * 10 + [1] * 40 + [0]
)  # the first run reads champion and journal, the second promotes, then the first writes
LATE = [0] * 12 + [1] * 40 + [0]  # the first run has written its line, the second promotes, the first moves the alias


@settings(max_examples=3, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate))
@given(
    bits=st.permutations([1.0, 2.0, 3.0]),
    turns=st.lists(st.integers(0, 1), min_size=10, max_size=30),
    killed=st.just(0),
)
@example(bits=[3.0, 2.0, 1.0], turns=STALE, killed=0)
@example(bits=[3.0, 2.0, 1.0], turns=LATE, killed=13)  # after it has written its line, before it moves the alias
@example(bits=[3.0, 2.0, 1.0], turns=LATE, killed=14)  # after it has moved the alias, before it looks again
def test_best_model_is_champion(registry: Registry, bits: list[float], turns: list[int], killed: int) -> None:
    """The first run is killed before that request, and started again. The journal agrees in the end."""
    registry.client.create_registered_model(MODEL)
    try:
        first = register(registry, bits[0])
        registry.moves.move("champion", first, "the first")
        registry.tag(first, {"promotion": "is the champion"})
        runs = [Run(registry, bits[1], killed), Run(registry, bits[2], 0)]
        for turn in turns:
            runs[turn].step()
        for run in runs:
            run.finish()
        champion = registry.holder("champion")
        assert champion
        assert float(champion.tags["bits_per_byte"]) == min(bits)
        assert [run.wins for run in runs if run.number == champion.number] in ([], [True])
        lines = registry.moves.lines([])
        assert holder(lines, "champion") == champion.number
        assert not list(faults(lines))
        assert [line.was for line in lines[1:]] == [line.to for line in lines[:-1]]
    finally:
        journal = registry.client.get_experiment_by_name(JOURNAL)
        registry.client.rename_experiment(journal.experiment_id, f"{JOURNAL} {journal.experiment_id}")
        del registry.moves
        registry.client.delete_registered_model(MODEL)
