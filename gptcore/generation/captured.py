"""On a GPU, a step as one CUDA graph: of its hundred and more kernels, each takes longer to start than to run."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gptcore.generation.cached_model import CachedModel, Pass


class _Graph(NamedTuple):
    new: Pass  # its tensors are where the graph reads
    logits: Tensor  # and this is where it writes
    graph: torch.cuda.CUDAGraph
    scratch: object


class Captured:
    """The model's `next_logits`, captured once for each shape of a pass. They are overwritten by the next ones."""

    def __init__(self, model: CachedModel) -> None:
        self.model = model
        self.stream = torch.cuda.Stream(model.device)  # one of its own: another thread may capture, too
        self.pool = torch.cuda.graph_pool_handle()
        self.graphs: dict[tuple[int, ...], _Graph] = {}

    def __call__(self, new: Pass) -> Tensor:
        """`new` begins with the first slot, and reads as many keys as each before."""
        shape = (new.rows, new.attending)
        if shape not in self.graphs:
            self.graphs[shape] = self._capture(new)
        kept = self.graphs[shape]
        torch._foreach_copy_(list(kept.new[:4]), list(new[:4]))
        kept.graph.replay()
        return kept.logits

    def _capture(self, new: Pass) -> _Graph:
        """It computes `new` before it captures, as cuBLAS and the like allocate memory at their first call."""
        kept = new._replace(**{name: getattr(new, name).clone() for name in Pass._fields[:4]})
        compute: Callable[[Pass], Tensor] = self.model.next_logits
        graph, now = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self.model.device)
        self.stream.wait_stream(now)
        with torch.cuda.stream(self.stream):
            compute(kept)
            graph.capture_begin(pool=self.pool, capture_error_mode="thread_local")
            try:
                logits = compute(kept)
            finally:
                graph.capture_end()
        now.wait_stream(self.stream)
        return _Graph(kept, logits, graph, self.model.views(len(new.ids), new.rows, new.attending))
