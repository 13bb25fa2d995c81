"""A thread that computes. Requests join and leave between two steps; the event loop never waits for a step.

A lane is a served model with an engine, and so a cache, of its own, for one worker. New requests go to the lanes of the
newest version; those that have begun stay in theirs, which is gone with the last of them.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gptcore.generation.complete import Completion, Wish
from gptcore.generation.engine import Engine
from gptcore.generation.sequence import Finish
from gptcore.generation.threads import one_thread
from serving.model import Served
from serving.refusals import Refusal

log = logging.getLogger(__name__)
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Prompt:
    text: str
    ids: Sequence[int]


class Update(NamedTuple):
    """What is new of a completion: its text since the last time, and `new` of its `ids`; its log-probabilities so far.

    `seconds` since the request came, `first` until its first id.
    """

    completion: Completion
    text: str
    ids: int
    new: int
    logprobs: int
    first: float
    seconds: float
    finish: Finish | None


@dataclass(eq=False)
class Lane:
    """`jobs` and `engine` are the worker's."""

    worker: "Worker"
    served: Served
    engine: Engine
    jobs: "list[Job]" = field(default_factory=list)

    def renew(self) -> None:
        """An engine without requests."""
        self.engine = self.engine.sibling()
        self.jobs.clear()


@dataclass(eq=False)
class Job:
    """The completions of one request: `start`, `read` and `cancel` are the worker's, `hear` and `news` the loop's."""

    lane: Lane
    prompts: Sequence[Prompt]
    wish: Wish
    began: float = field(default_factory=time.perf_counter)
    running: list[Completion] = field(default_factory=list)
    told: dict[int, tuple[int, float]] = field(default_factory=dict)  # of a completion: ids, seconds to the first
    heard: list[Update] = field(default_factory=list)
    failure: Refusal | None = None
    has_news: asyncio.Event = field(default_factory=asyncio.Event)

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

    def read(self) -> "News":
        """What is new since the last time."""
        found: list[Update] = []
        failure, seconds = None, time.perf_counter() - self.began
        for each in self.running:
            text, number = each.read(), each.number
            ids, finish = len(each.sequence.ids), each.finish
            before, first = self.told.get(number, (0, seconds))
            if finish == "error":
                failure = Refusal(500, "the model computes NaN or infinity", "internal_error")
            elif text or finish or (ids and not before):
                self.told[number] = ids, first
                made = len(each.sequence.logprobs)
                found.append(Update(each, text, ids, ids - before, made, first, seconds, finish))
        self.running = [each for each in self.running if not each.finish]
        return self, found, failure

    def cancel(self) -> None:
        for each in self.running:
            each.engine.cancel(each.sequence)
        self.running = []

    def hear(self, updates: Sequence[Update], failure: Refusal | None) -> None:
        self.heard += updates
        self.failure = self.failure or failure
        self.has_news.set()

    async def news(self) -> list[Update]:
        """Of several steps, if the event loop is behind. Raises its failure, once there is no other news."""
        while not self.heard:
            if self.failure:
                raise self.failure
            self.has_news.clear()
            await self.has_news.wait()
        found, self.heard = self.heard, []
        return found


News = tuple[Job, list[Update], Refusal | None]


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
            told = [job.read() for job in lane.jobs]
        except Exception:
            log.exception("a step failed; its requests end with an error, and others go on with a new engine")
            told = [(job, [], _broken()) for job in lane.jobs]
            lane.renew()
        for job in [each for each in lane.jobs if not each.running]:
            lane.jobs.remove(job)
        if not lane.jobs:
            self.lanes.remove(lane)
        self._tell(told)

    def _submit(self, job: Job) -> None:
        try:
            job.start()
            self._tell([job.read()])  # a completion of no ids has ended
        except Exception:
            log.exception("a request did not start")
            job.cancel()
            self._tell([(job, [], _broken())])
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

    def _tell(self, told: Sequence[News]) -> None:
        """One call for a step: each wakes the event loop."""
        news = [each for each in told if each[1] or each[2]]
        if news and self.loop and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(_put, news)

    def _stop(self) -> None:
        self.stopped = True


def _put(told: Sequence[News]) -> None:
    for job, updates, failure in told:
        job.hear(updates, failure)


def _broken() -> Refusal:
    return Refusal(500, "the server has failed; its log says how", "internal_error")
