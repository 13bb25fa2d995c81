"""On a CPU, a small model's step as TorchScript: the same calls in the same order, without Python between them.

Such a step is mostly Python, which only one thread of a process runs at a time. Traced, the default model's takes a
third less time for one row and a fifth less for 16, and a server's event loop goes on beside it.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gptcore.generation.cached_model import CachedModel, Pass, Views

USES = 100  # of a shape, before it is traced, which takes as long as some two hundred steps save


class Traced:
    """The model's `next_logits`, its blocks traced once for each shape of a pass; the number of keys is free.

    The head is not: its weight may be packed, which TorchScript does not take.
    """

    def __init__(self, model: CachedModel) -> None:
        self.model = model
        self.uses: Counter[tuple[int, int, bool]] = Counter()
        self.steps: dict[tuple[int, int, bool], Callable[..., Tensor]] = {}
        self.ruler = torch.empty(model.places)  # the trace takes a number from the length of a tensor alone

    def __call__(self, new: Pass) -> Tensor:
        shape = (new.rows, new.attending, new.masked)
        step = self.steps.get(shape)
        if step is None:
            self.uses[shape] += 1
            if self.uses[shape] <= USES:
                return self.model.next_logits(new)
            step = self.steps[shape] = self._trace(new)
        return self.model.logits(step(*self._arguments(new)))

    def _arguments(self, new: Pass) -> tuple[Any, ...]:
        """What a step writes to is among them: TorchScript takes all else for constant."""
        return (*new[:4], self.ruler[: new.keys], tuple(self.model.views(new.rows, new.rows, new.attending)))

    def _trace(self, new: Pass) -> Callable[..., Tensor]:
        def step(
            ids: Tensor, before: Tensor, positions: Tensor, places: Tensor, ruler: Tensor, views: tuple[Any, ...]
        ) -> Tensor:
            asked = new._replace(ids=ids, before=before, positions=positions, places=places, keys=ruler.size(0))
            return self.model.forward(asked, Views(*views))

        traced: Callable[..., Tensor] = torch.jit.trace(step, self._arguments(new), check_trace=False)
        return traced
