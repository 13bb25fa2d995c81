"""What the routes share: which model new requests get, how many may wait, and what is counted."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

import torch

from gptcore.errors import UserError
from gptcore.generation.complete import FEWEST_SLOTS, Wish, prompt_ids, requested
from gptcore.generation.engine import Engine
from gptcore.generation.sampling import check_prompt
from gptcore.generation.threads import compute_threads, is_small
from serving.metrics import Metrics
from serving.model import Served
from serving.options import Options
from serving.refusals import ENCODER, Refusal
from serving.worker import Job, Lane, Prompt, Update, Worker

log = logging.getLogger(__name__)
RETRY_SECONDS = 1
MOST_STOPS = 16


@dataclass
class Candidate:
    """A version that has the alias and cannot be served, and why; number 0 is none."""

    number: int = 0
    why: str = ""


@dataclass
class Service:
    options: Options
    served: Served
    metrics: Metrics = field(default_factory=Metrics)
    workers: list[Worker] = field(init=False)
    refused: Candidate = field(default_factory=Candidate)
    registry_error: str = ""
    jobs: dict[Job, asyncio.TimerHandle] = field(default_factory=dict)  # and what ends them when they are late
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        slots = self.options.slots
        threads = self.options.threads or compute_threads(self.served.gpt, slots)
        self.workers = [Worker() for _ in range(max(1, min(threads, slots // FEWEST_SLOTS)))]
        self.swap(self.served)
        metrics, workers = self.metrics, self.workers
        metrics.slots.set(sum(len(each.engine.slots) for each in self.lanes))
        metrics.busy.set_function(lambda: self.busy_slots)
        metrics.waiting.set_function(lambda: sum(each.waiting for each in workers))
        metrics.steps.set_function(lambda: sum(each.steps for each in workers))
        metrics.open.set_function(lambda: self.open)
        metrics.refused.set_function(lambda: self.refused.number)
        metrics.registry_up.set_function(lambda: not self.registry_error)

    @property
    def open(self) -> int:
        return sum(each.size for each in self.jobs)

    @property
    def busy_slots(self) -> int:
        return sum(each.busy_slots for each in self.workers)

    @property
    def computes(self) -> bool:
        return all(each.thread.is_alive() for each in self.workers)

    def swap(self, served: Served) -> None:
        """From now on, requests get this one."""
        slots = -(-self.options.slots // len(self.workers))  # as many in each lane: all give a request the same bytes
        dtype = getattr(torch, self.options.precision)
        first = Engine(served.gpt, slots, served.tokenizer.unsayable_ids, dtype)
        engines = [first, *(first.sibling() for _ in self.workers[1:])]
        lanes = [Lane(worker, served, engine) for worker, engine in zip(self.workers, engines, strict=True)]
        self.lanes, self.served = lanes, served
        self.metrics.version.clear()
        self.metrics.version.labels(str(served.number), served.sha256).set(1)

    def names(self) -> list[str]:
        """What `model` of a request may be."""
        name, number = self.served.name, self.served.number
        return list(dict.fromkeys((name, self.options.model, *([f"{name}@{number}"] if number else []))))

    def begin(self, lanes: Sequence[Lane], prompts: Sequence[Prompt], wish: Wish, seconds: float | None = None) -> Job:
        """Whoever begins a job closes it. It fails after so many seconds. Raises Refusal if too many wait."""
        texts, most = len(prompts) * wish.n, self.options.slots + self.options.queue
        if texts > most:
            raise Refusal(400, f"{texts:,} texts in one request; this server takes {most:,}", "invalid_value", "n")
        if self.open + texts > most:
            headers = {"Retry-After": str(RETRY_SECONDS)}
            raise Refusal(429, f"{self.open:,} texts are being made or wait", "queue_full", headers=headers)
        job = Job(self._lane(lanes, texts), prompts, wish)
        limit = min(seconds or self.options.deadline_seconds, self.options.deadline_seconds)
        late = Refusal(504, f"it was not done after {limit:g} s", "timeout")
        self.jobs[job] = asyncio.get_running_loop().call_later(limit, job.hear, [], late)
        job.lane.worker.submit(job)
        return job

    def _lane(self, lanes: Sequence[Lane], texts: int) -> Lane:
        """That with the fewest texts; of a small model's the first with slots for all: two make few no faster."""
        enough = len(lanes[0].engine.slots) if is_small(lanes[0].served.gpt) else 0
        return min(lanes, key=lambda lane: max(enough, self._texts(lane) + texts))

    def _texts(self, lane: Lane) -> int:
        return sum(job.size for job in self.jobs if job.lane is lane)

    def close(self, job: Job, how: str) -> None:
        """Free what it has. Only the first call counts."""
        if job in self.jobs:
            self.jobs.pop(job).cancel()
            job.lane.worker.cancel(job)
            self.metrics.ended.labels(how).inc()
            seconds, tokens = time.perf_counter() - job.began, sum(len(each.ids) for each in job.prompts)
            version = job.lane.served.number
            log.info("%s: version %d, %d texts, %d prompt tokens, %.3f s", how, version, job.size, tokens, seconds)
            if self.options.log_prompts:
                log.info("prompts: %s", ENCODER.encode([each.text for each in job.prompts]))

    async def updates(self, job: Job) -> AsyncGenerator[list[Update], None]:
        """What is new, until all its texts have ended. Raises Refusal if the job fails."""
        left = job.size
        while left:
            try:
                found = await job.news()
            except Refusal as failure:
                self.close(job, "deadline" if failure.status == 504 else "error")
                raise
            for each in found:
                self._count(job, each)
                left -= each.finish is not None
            yield found

    def _count(self, job: Job, update: Update) -> None:
        metrics = self.metrics
        if update.new == update.ids:  # none was told before
            metrics.first.observe(update.first)
            metrics.prefill.inc(len(job.prompts[update.completion.number // job.wish.n].ids))
        if update.finish and update.ids > 1:
            metrics.token.observe((update.seconds - update.first) / (update.ids - 1))
        metrics.decode.inc(update.new)


def prepared(served: Served, given: Sequence[str | Sequence[int]], wish: Wish, field: str = "prompt") -> list[Prompt]:
    """Texts with their ids, ids with their text. `field` of the request has them. Raises Refusal, UserError."""
    if not given:
        raise Refusal(400, "prompt: the list is empty", "invalid_value", "prompt")
    if "" in wish.stop or len(wish.stop) > MOST_STOPS:
        raise Refusal(400, f"stop: at most {MOST_STOPS} texts, none of them empty", "invalid_value", "stop")
    return [_prompt(served, each, place, wish, field) for place, each in enumerate(given, start=1)]


def _prompt(served: Served, given: str | Sequence[int], place: int, wish: Wish, field: str) -> Prompt:
    tokenizer, most = served.tokenizer, served.gpt.config.block_size
    try:
        if isinstance(given, str):
            check_prompt(given, place)
            prompt = Prompt(given, prompt_ids(tokenizer, given))
        else:
            prompt = Prompt(text_of(served, given), given)
    except UserError as error:
        raise Refusal(400, str(error), "invalid_value", field) from None
    if len(prompt.ids) > most:
        said = f"the prompt has {len(prompt.ids):,} tokens, the model's context {most:,}"
        raise Refusal(400, said, "context_length_exceeded", field)
    requested(tokenizer, prompt.ids, wish).check(served.gpt.vocab_size, most)
    return prompt


def text_of(served: Served, ids: Sequence[int]) -> str:
    """Raises UserError for an id that has no text."""
    most = min(served.tokenizer.n_vocab, served.gpt.vocab_size)
    if wrong := [each for each in ids if not 0 <= each < most]:
        raise UserError(f"{wrong[0]} is no id of the model; its ids are 0 to {most - 1:,}")
    return served.tokenizer.decode(ids)
