"""Copies of a training state in host memory. A GPU makes them beside the training step, which goes on meanwhile."""

from collections.abc import Mapping

import torch
from torch import Tensor

from gptcore.training.sharding import own_part

_streams: dict[int, torch.cuda.Stream] = {}  # by the number of the GPU


class HostCopy:
    """A copy of named tensors, of sharded ones this rank's part. `take` overwrites the previous one.

    On a GPU, `take` queues the copy into pinned memory on a stream of its own, which runs beside the next forward and
    backward pass. `wait` until it is there before `tensors` are read, and call `finish_before_writing` before the
    tensors themselves are written.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._done: torch.cuda.Event | None = None

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        parts = {name: own_part(each.detach()) for name, each in tensors.items()}
        self.tensors = {name: self._room_for(name, each) for name, each in parts.items()}
        for name, each in parts.items():
            if not each.is_cuda:
                self.tensors[name].copy_(each)
        if on_gpu := {name: each for name, each in parts.items() if each.is_cuda}:
            self._copy_beside(on_gpu)

    def wait(self) -> None:
        """Return when the last copy is complete; any thread may call it."""
        if self._done:
            self._done.synchronize()

    def _room_for(self, name: str, tensor: Tensor) -> Tensor:
        """The memory of the last copy, where it has the shape."""
        room = self.tensors.get(name)
        if room is not None and room.shape == tensor.shape and room.dtype == tensor.dtype:
            return room
        return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)

    def _copy_beside(self, tensors: dict[str, Tensor]) -> None:
        number = next(iter(tensors.values())).get_device()
        stream = _streams[number] if number in _streams else torch.cuda.Stream(number)
        _streams[number] = stream
        stream.wait_stream(torch.cuda.current_stream(number))
        with torch.cuda.stream(stream):
            for name, each in tensors.items():
                self.tensors[name].copy_(each, non_blocking=True)
                each.record_stream(stream)  # or the allocator hands out its memory while it is read
        self._done = torch.cuda.Event()
        self._done.record(stream)


def finish_before_writing() -> None:
    """Let GPUs finish all copies before what is queued next; the program does not wait."""
    for number, stream in _streams.items():
        torch.cuda.current_stream(number).wait_stream(stream)
