"""Many requests at once: each has a slot from its first id to its last, and joins and leaves between two steps.

The same request gives the same bytes alone or among others, in any slot and any order of arrival, on one machine with
one thread (`threads.one_thread`): prompts go through the model alone, and each request has a random generator of its
own. A step computes the rows of all slots up to the last that is taken, if this processor gives a row the same bits
among that many as among all, which each engine tries; else all slots, the empty ones too. How far attention reads
depends on the neighbours, but what it reads too much is masked and adds exact zeros at the end.
"""

from collections import deque
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gptcore.generation.cached_model import PLACES, CachedModel, Pass
from gptcore.generation.captured import Captured
from gptcore.generation.choose import BROKEN, choose
from gptcore.generation.sequence import Finish, Logprob, Request, Sequence
from gptcore.generation.threads import is_small, one_thread
from gptcore.generation.traced import Traced
from gptcore.model.gpt import GPT

CHUNK = 128  # ids of a prompt that go through the model at once
ATTENDING = 4  # of more rows a multiple of it attends: each number is a shape of its own
PREFILL = 2 * CHUNK  # ids of prompts in a step, before the others get their next id


class Engine:
    """`submit` requests, then call `step` until none is left. It knows ids and no text. One thread may use it."""

    def __init__(
        self, model: GPT, slots: int, unsayable: list[int] | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        """`slots` requests run at once, others wait; `unsayable` are ids that are never drawn.

        With `dtype` bfloat16, large models take half the time on processors that have it, and round more.
        """
        self._begin(CachedModel(model, slots, unsayable, dtype))
        with one_thread():
            self._try_shapes()

    def sibling(self) -> "Engine":
        """One for another thread: the same packed weights, and as many slots of its own."""
        made = object.__new__(Engine)
        made._begin(self.model.sibling())
        made.sizes, made.attends_apart = self.sizes, self.attends_apart
        return made

    def _begin(self, model: CachedModel) -> None:
        self.model = model
        self.next_logits = _fastest(model)
        self.vocab_size, self.block_size = model.model.vocab_size, model.config.block_size
        self.waiting: deque[Sequence] = deque()
        self.slots: list[Sequence | None] = [None] * model.slots
        self.prefilling: deque[Sequence] = deque()

    def submit(self, request: Request) -> Sequence:
        """Raises UserError for ids that the model does not have, and for a prompt longer than its context."""
        request.check(self.vocab_size, self.block_size)
        sequence = Sequence(request, todo=list(request.prompt[-self.block_size :]))
        if request.max_new == 0 and not request.echo:
            sequence.finish = "length"
        else:
            self.waiting.append(sequence)
        return sequence

    def cancel(self, sequence: Sequence) -> None:
        """Free its slot, or its place in the queue. The caller knows why, so `finish` stays as it is."""
        if sequence.slot is not None:
            self.slots[sequence.slot] = None
            sequence.slot = None
        for queue in (self.waiting, self.prefilling):
            if sequence in queue:
                queue.remove(sequence)

    @property
    def busy(self) -> bool:
        return bool(self.waiting) or any(self.slots)

    @torch.inference_mode()
    def step(self) -> None:
        """Fill free slots, read some more of their prompts, and give every other sequence its next id."""
        for slot, holder in enumerate(self.slots):
            if holder is None and self.waiting:
                sequence = self.waiting.popleft()
                sequence.slot, self.slots[slot] = slot, sequence
                self.prefilling.append(sequence)
        left = PREFILL
        while self.prefilling and left > 0:
            left -= self._prefill(self.prefilling[0])
        self._decode([each for each in self.slots if each and not each.todo])

    def _prefill(self, sequence: Sequence) -> int:
        """Read a chunk of what is left of a prompt; after the last one, draw an id. Returns the ids read."""
        slot, first = sequence.slot, sequence.cached
        assert slot is not None
        chunk, sequence.todo = sequence.todo[:CHUNK], sequence.todo[CHUNK:]
        last = first + len(chunk)
        positions, before = list(range(first, last)), [sequence.before, *chunk[:-1]]
        places = [slot * self.model.places + each for each in positions]
        new = self._pass([chunk, before, positions, places], slot, 1, 1, last, masked=len(chunk) > 1)
        hidden = self.model.forward(new)
        sequence.cached, sequence.before = last, chunk[-1]
        if sequence.request.echo and sequence.request.logprobs is not None and not sequence.ids:
            self._echo(sequence, first, hidden)
        if not sequence.todo:
            self.prefilling.popleft()
            if sequence.request.max_new:
                self._advance([sequence], self.model.logits(hidden[-1:]))
            else:
                self._end(sequence, "length")
        return len(chunk)

    def _decode(self, sequences: list[Sequence]) -> None:
        if not sequences:
            return
        last, longest = 0, 0
        for each in sequences:
            assert each.slot is not None
            last, longest = max(last, each.slot), max(longest, each.cached + 1)
        rows = next(size for size in self.sizes if size > last)
        ids, before, positions = [0] * rows, [0] * rows, [0] * rows
        P = self.model.places
        places = list(range(P - 1, rows * P, P))  # an empty slot writes where no row looks
        for each in sequences:
            slot = each.slot or 0
            ids[slot], before[slot], positions[slot] = each.ids[-1], each.before, each.cached
            places[slot] = slot * P + each.cached
        attending = last + 1 if self.attends_apart else rows
        if attending > ATTENDING:
            attending = min(rows, -(-attending // ATTENDING) * ATTENDING)
        logits = self.next_logits(
            self._pass([ids, before, positions, places], 0, rows, attending, *self._keys(longest))
        )
        for each in sequences:
            each.before, each.cached = each.ids[-1], each.cached + 1
        if len(sequences) < rows:
            logits = logits[[each.slot for each in sequences]]
        self._advance(sequences, logits)

    def _keys(self, longest: int) -> tuple[int, bool]:
        """How many keys a step reads where a row sees so many, and whether some are masked."""
        if self.model.attend:  # which reads those of each row, so that one graph serves all lengths
            return self.model.places - 1, False
        return (longest, False) if len(self.slots) == 1 else (-(-longest // PLACES) * PLACES, True)

    def _pass(self, columns: list[list[int]], first: int, rows: int, attending: int, keys: int, masked: bool) -> Pass:
        """`columns` are ids, those before them, positions and places."""
        values = torch.from_numpy(np.array(columns))  # in half of the time that a tensor of lists takes
        ids, before, positions, places = values.to(self.model.device).unbind()
        return Pass(ids, before, positions, places, first, rows, len(columns[0]) // rows, attending, keys, masked)

    @torch.inference_mode()
    def _try_shapes(self) -> None:
        """Find `sizes`, the numbers of rows of a step: all slots, and those among which a row has the same bits.

        And whether it has them where fewer rows attend than there are.
        """
        slots = len(self.slots)
        whole = self._trial(slots, slots)
        fewer = [1 << power for power in range((slots - 1).bit_length())]
        self.sizes = [rows for rows in fewer if torch.equal(self._trial(rows, rows), whole[:rows])] + [slots]
        self.attends_apart = torch.equal(self._trial(slots, 1)[:1], whole[:1])
        self.model.cache[..., 0, :] = 0

    def _trial(self, rows: int, attending: int) -> Tensor:
        """The logits of some ids at the beginning of a text."""
        ids = [each % self.vocab_size for each in range(rows)]
        places = list(range(0, rows * self.model.places, self.model.places))
        return self.next_logits(
            self._pass([ids, ids, [0] * rows, places], 0, rows, attending, *self._keys(PLACES))
        ).clone()

    def _advance(self, sequences: list[Sequence], logits: Tensor) -> None:
        """Draw an id for each of the sequences, whose logits these are."""
        asking = [row for row, each in enumerate(sequences) if each.request.logprobs is not None]
        before_it = dict(zip(asking, logits[asking].cpu().log_softmax(-1), strict=True)) if asking else {}
        for row, choice in enumerate(choose(logits, sequences)):
            sequence = sequences[row]
            if choice == BROKEN:
                self.model.clear(sequence.slot or 0)
                self._end(sequence, "error")
                continue
            if row in before_it:
                sequence.logprobs.append(_logprob(before_it[row], choice, sequence.request.logprobs or 0))
            if choice in sequence.request.stop_ids:
                self._end(sequence, "stop")
            else:
                sequence.ids.append(choice)
                self._go_on(sequence)

    def _echo(self, sequence: Sequence, first: int, hidden: Tensor) -> None:
        """The log-probabilities of the prompt's ids after each id of a chunk that begins at `first`."""
        following = sequence.request.prompt[-self.block_size :][first + 1 : first + 1 + len(hidden)]
        distributions = self.model.logits(hidden[: len(following)]).log_softmax(-1).cpu()
        top = sequence.request.logprobs or 0
        sequence.prompt_logprobs += [
            _logprob(each, token, top) for each, token in zip(distributions, following, strict=True)
        ]

    def _go_on(self, sequence: Sequence) -> None:
        request = sequence.request
        if len(sequence.ids) >= request.max_new:
            self._end(sequence, "length")
        elif sequence.cached >= self.block_size:
            if not request.slides:
                sequence.full = True
                self._end(sequence, "length")
                return
            # the first position is not what it was in the middle: nothing of the cache is of use
            sequence.todo = [*request.prompt, *sequence.ids][-self.block_size :]
            sequence.cached = 0
            self.prefilling.append(sequence)

    def _end(self, sequence: Sequence, finish: Finish) -> None:
        sequence.finish = finish
        self.cancel(sequence)


def _fastest(model: CachedModel) -> Callable[[Pass], Tensor]:
    if model.attend:
        return Captured(model)
    traces = model.device.type == "cpu" and model.dtype == torch.float32 and is_small(model.model)
    return Traced(model) if traces else model.next_logits


def _logprob(distribution: Tensor, token: int, top: int) -> Logprob:
    logprobs, ids = distribution.topk(min(top, len(distribution)))
    return Logprob(token, float(distribution[token]), tuple(zip(ids.tolist(), logprobs.tolist(), strict=True)))
