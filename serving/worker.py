"""The one thread that computes. Requests join and leave between two steps; the event loop never waits for a step.

A lane is a served model with an engine, and so a cache, of its own. New requests go to the newest lane; those that have
begun stay in theirs, which is gone with the last of them.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from gptcore.generation.complete import Completion, Wish
from gptcore.generation.engine import Engine
from gptcore.generation.sequence import Finish
from gptcore.generation.threads import one_thread
from serving.model import Served

log = logging.getLogger(__name__)
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Prompt:
    text: str
    ids: Sequence[int]


@dataclass(frozen=True)
class Update:
    """What a step has added to a completion: text, the number of its ids and of its log-probabilities so far.

    `seconds` since the request came.
    """

    completion: Completion
    text: str
    ids: int
    logprobs: int
    seconds: float
    finish: Finish | None


@dataclass(eq=False)
class Lane:
    """`jobs` and `engine` are the worker's."""

    served: Served
    slots: int
    precision: str = "float32"
    jobs: "list[Job]" = field(default_factory=list)

    def __post_init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """An engine without requests."""
        dtype = getattr(torch, self.precision)
        self.engine = Engine(self.served.gpt, self.slots, self.served.tokenizer.unsayable_ids, dtype)
        self.jobs.clear()


@dataclass(eq=False)
class Job:
    """The completions of one request. `updates` belongs to the event loop; None in it: the engine has failed."""

    lane: Lane
    prompts: Sequence[Prompt]
    wish: Wish
    began: float = field(default_factory=time.perf_counter)
    updates: "asyncio.Queue[Update | None]" = field(default_factory=asyncio.Queue)
    running: list[Completion] = field(default_factory=list)
    heard: set[int] = field(default_factory=set)  # numbers of the completions whose first id was told

    @property
    def size(self) -> int:
        return len(self.prompts) * self.wish.n

    def start(self) -> None:
        engine, tokenizer, n = self.lane.engine, self.lane.served.tokenizer, self.wish.n
        self.running = [
            Completion(engine, tokenizer, prompt.text, self.wish, place * n + choice, choice, prompt.ids)
            for place, prompt in enumerate(self.prompts)
            for choice in range(n)
        ]

    def read(self) -> list[Update]:
        """What is new since the last time."""
        found, seconds = [], time.perf_counter() - self.began
        for each in self.running:
            ids, logprobs = len(each.sequence.ids), len(each.sequence.logprobs)
            text = each.read()
            is_first = bool(ids) and each.number not in self.heard
            if text or each.finish or is_first:
                self.heard.add(each.number)
                found.append(Update(each, text, ids, logprobs, seconds, each.finish))
        self.running = [each for each in self.running if not each.finish]
        return found

    def cancel(self) -> None:
        for each in self.running:
            each.engine.cancel(each.sequence)
        self.running = []


class Worker:
    def __init__(self) -> None:
        self.inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.lanes: list[Lane] = []  # those with jobs
        self.steps = 0
        self.stopped = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread = threading.Thread(target=self._run, name="compute", daemon=True)

    def start(self) -> None:
        """In the event loop that is to get the updates."""
        self.loop = asyncio.get_running_loop()
        self.thread.start()

    def stop(self) -> None:
        """After the step that it is in."""
        self.inbox.put(self._stop)
        self.thread.join(STOP_SECONDS)

    def submit(self, job: Job) -> None:
        self.inbox.put(lambda: self._submit(job))

    def cancel(self, job: Job) -> None:
        """Free its slots before the next step."""
        self.inbox.put(lambda: self._leave(job))

    @property
    def busy_slots(self) -> int:
        return sum(each is not None for lane in list(self.lanes) for each in lane.engine.slots)

    @property
    def waiting(self) -> int:
        return sum(len(lane.engine.waiting) for lane in list(self.lanes))

    def _run(self) -> None:
        with one_thread():
            while not self.stopped:
                try:
                    self.inbox.get(block=not self.lanes)()
                except queue.Empty:
                    for lane in list(self.lanes):
                        self._step(lane)

    def _step(self, lane: Lane) -> None:
        self.steps += 1
        try:
            lane.engine.step()
            told: list[tuple[Job, Update | None]] = [(job, update) for job in lane.jobs for update in job.read()]
        except Exception:
            log.exception("a step failed; its requests end with an error, and others go on with a new engine")
            told = [(job, None) for job in lane.jobs]
            lane.renew()
        for job in [each for each in lane.jobs if not each.running]:
            lane.jobs.remove(job)
        if not lane.jobs:
            self.lanes.remove(lane)
        self._tell(told)

    def _submit(self, job: Job) -> None:
        try:
            job.start()
            self._tell([(job, update) for update in job.read()])  # a completion of no ids has ended
        except Exception:
            log.exception("a request did not start")
            job.cancel()
            self._tell([(job, None)])
        if job.running:
            job.lane.jobs.append(job)
            if job.lane not in self.lanes:
                self.lanes.append(job.lane)

    def _leave(self, job: Job) -> None:
        job.cancel()
        if job in job.lane.jobs:
            job.lane.jobs.remove(job)
            if not job.lane.jobs:
                self.lanes.remove(job.lane)

    def _tell(self, told: Sequence[tuple[Job, Update | None]]) -> None:
        """One call for a step: each wakes the event loop."""
        if told and self.loop and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(_put, told)

    def _stop(self) -> None:
        self.stopped = True


def _put(told: Sequence[tuple[Job, Update | None]]) -> None:
    for job, update in told:
        job.updates.put_nowait(update)
