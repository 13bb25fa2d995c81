"""From text to text: prompts become requests of the engine, their ids become pieces of text, up to a stop string."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import torch

from gptcore.generation.engine import Engine
from gptcore.generation.sampling import Sampling, check_prompt
from gptcore.generation.sequence import Finish, Request
from gptcore.generation.stops import Stops
from gptcore.model.gpt import GPT
from gptcore.tokens.text_stream import TextStream
from gptcore.tokens.tokenizer import Tokenizer

FEWEST_SLOTS = 4  # a matrix product of one to three rows rounds otherwise than one of more
MOST_SLOTS = 16


@dataclass(frozen=True)
class Wish:
    """What follows a prompt, `n` times: at most `max_new` tokens, up to one of `stop` or `stop_ids` or a text's end.

    With `logprobs`, log-probabilities of so many ids at each place; with `echo`, of the prompt too.
    """

    max_new: int
    sampling: Sampling
    n: int = 1
    stop: Sequence[str] = ()
    logprobs: int | None = None
    echo: bool = False
    slides: bool = False
    stop_ids: Sequence[int] = ()


@dataclass
class Completion:
    """The `choice`-th text for a prompt, the `number`-th of all. `read` it after each step of the engine.

    `ids` are the prompt's, where they are known: a prompt may come as ids.
    """

    engine: Engine
    tokenizer: Tokenizer
    prompt: str
    wish: Wish
    number: int = 0
    choice: int = 0
    ids: Sequence[int] = ()
    text: str = ""
    finish: Finish | None = None
    _read: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        """Raises UserError if the model cannot go on from the prompt."""
        if not self.ids:
            check_prompt(self.prompt, self.number // self.wish.n + 1)
            self.ids = prompt_ids(self.tokenizer, self.prompt)
        self.sequence = self.engine.submit(requested(self.tokenizer, self.ids, self.wish, self.choice))
        self._stream, self._stops = TextStream(self.tokenizer), Stops(self.wish.stop)

    def read(self) -> str:
        """The text since the last time. With its last piece, `finish` is set."""
        if self.finish:
            return ""
        new, self._read = self.sequence.ids[self._read :], len(self.sequence.ids)
        piece = self._stops.push(self._stream.push(new))
        if not self._stops.stopped and self.sequence.finish:
            piece += self._stops.push(self._stream.end())
            piece += self._stops.end()
            self.finish = self.sequence.finish
        if self._stops.stopped:
            self.engine.cancel(self.sequence)
            self.finish = "stop"
        self.text += piece
        return piece

    @property
    def is_cut(self) -> bool:
        """Whether a stop string has ended the text: ids of it are no part of the text."""
        return self._stops.stopped


def prompt_ids(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """At least one: a text without a prompt begins as texts do. Raises UserError if the vocabulary has no such id."""
    return tokenizer.encode(prompt).tolist() or [tokenizer.eot_id]


def requested(tokenizer: Tokenizer, ids: Sequence[int], wish: Wish, choice: int = 0) -> Request:
    stop_ids = frozenset([tokenizer.stop_id, *wish.stop_ids])
    return Request(tuple(ids), wish.max_new, wish.sampling, stop_ids, choice, wish.logprobs, wish.echo, wish.slides)


def engine_for(model: GPT, tokenizer: Tokenizer, texts: int, precision: str = "float32") -> Engine:
    """An engine with a slot for each of so many texts, or some of them."""
    slots = min(max(texts, FEWEST_SLOTS), MOST_SLOTS)
    return Engine(model, slots, tokenizer.unsayable_ids, getattr(torch, precision))


def completions(
    engine: Engine, tokenizer: Tokenizer, prompts: Iterable[str], wish: Wish
) -> Iterator[tuple[Completion, str]]:
    """Every piece of text as it comes, with its completion; the last piece of one may be empty.

    Prompts are taken as slots become free. Raises UserError for a prompt that the model cannot go on from.
    """
    texts = ((prompt, choice) for prompt in prompts for choice in range(wish.n))
    numbered = enumerate(texts)
    running: list[Completion] = []
    try:
        while True:
            for number, (prompt, choice) in islice(numbered, len(engine.slots) - len(running)):
                running.append(Completion(engine, tokenizer, prompt, wish, number, choice))
            if not running:
                return
            engine.step()
            for each in running:
                piece = each.read()
                if piece or each.finish:
                    yield each, piece
            running = [each for each in running if not each.finish]
    finally:
        for each in running:
            engine.cancel(each.sequence)


def complete(engine: Engine, tokenizer: Tokenizer, prompts: Iterable[str], wish: Wish) -> list[Completion]:
    """All of them when they are done, in the order of the prompts."""
    done = [each for each, _ in completions(engine, tokenizer, prompts, wish) if each.finish]
    return sorted(done, key=lambda each: each.number)


def described(done: Completion) -> dict[str, Any]:
    """A completion as plain values."""
    sequence = done.sequence
    values = {
        "prompt": done.prompt, "choice": done.choice, "text": done.text, "finish": done.finish,
        "context_full": sequence.full, "prompt_tokens": len(sequence.request.prompt), "tokens": len(sequence.ids),
    }  # fmt: skip
    if done.wish.logprobs is not None:
        values["logprobs"] = [asdict(each) for each in sequence.logprobs[: len(sequence.ids)]]
        if done.wish.echo:
            values["prompt_logprobs"] = [asdict(each) for each in sequence.prompt_logprobs]
    return values
