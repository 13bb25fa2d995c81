"""A request, and the ids that have come of it."""

import random
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from gptcore.errors import UserError
from gptcore.generation.sampling import Sampling

Finish = Literal["stop", "length", "error"]
NONE = -1  # the id that ends a text, where the vocabulary has none


@dataclass(frozen=True)
class Request:
    """Go on from `prompt`, ids of which there is at least one, with at most `max_new` more.

    `choice` counts the texts that one prompt gets: each has a random generator of its own. With `logprobs`, each id
    comes with its log-probability and the `logprobs` likeliest; `echo` gives the prompt's too. `slides`: after a full
    context, go on from its last block_size ids, recomputed for every id, instead of ending.
    """

    prompt: tuple[int, ...]
    max_new: int
    sampling: Sampling
    stop_ids: frozenset[int] = frozenset()
    choice: int = 0
    logprobs: int | None = None
    echo: bool = False
    slides: bool = False

    def check(self, vocab_size: int, block_size: int) -> None:
        """Raises UserError."""
        if not self.prompt:
            raise UserError("the prompt holds no token; begin with the one that begins a text")
        asked = (*self.prompt, *self.sampling.logit_bias, *(self.stop_ids - {NONE}))
        if wrong := [each for each in asked if not 0 <= each < vocab_size]:
            raise UserError(f"{wrong[0]} is no id of the model; its ids are 0 to {vocab_size - 1:,}")
        if len(self.prompt) > block_size and not self.slides:
            raise UserError(f"the prompt has {len(self.prompt):,} tokens, the model's context {block_size:,}")


@dataclass(frozen=True)
class Logprob:
    """Of the model's own distribution, before penalties and temperature; `top` begins with the likeliest."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(eq=False)
class Sequence:
    """`ids` are the new ones. `finish` says why it ended, `full` that it was at the end of the context.

    `logprobs` has one more where a stop id has ended it: that of the stop id.
    """

    request: Request
    ids: list[int] = field(default_factory=list)
    finish: Finish | None = None
    full: bool = False
    logprobs: list[Logprob] = field(default_factory=list)
    prompt_logprobs: list[Logprob] = field(default_factory=list)  # from the second id on
    # the engine's: the slot, the ids that are still to be read before one is drawn, how many are in the cache, and the
    # last of these
    slot: int | None = None
    todo: list[int] = field(default_factory=list)
    cached: int = 0
    before: int = 0

    @cached_property
    def random(self) -> random.Random:
        """By prompt, too: one seed for several prompts must not give all of them the same noise."""
        request = self.request
        return random.Random(f"{request.sampling.seed} {request.choice} {request.prompt}")
