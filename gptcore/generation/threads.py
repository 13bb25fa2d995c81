"""How many threads compute. A program that generates asks here, and nothing else in it sets them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from gptcore.generation.linear import PACKED_FROM
from gptcore.model.gpt import GPT


@contextmanager
def one_thread() -> Iterator[None]:
    """With one thread, the same request gives the same bytes, whatever is beside it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compute_threads(model: GPT) -> int:
    """How many engines compute at the same time, each in a thread: as many as there are cores.

    One for a small model, whose threads would wait for each other's Python, and on a GPU.
    """
    is_alone = is_small(model) or model.wte.weight.device.type != "cpu"
    return 1 if is_alone else torch.get_num_threads()


def suited_to(model: GPT) -> AbstractContextManager[None]:
    """One thread for a small model, where several would wait for each other longer than they compute."""
    return one_thread() if is_small(model) else nullcontext()


def is_small(model: GPT) -> bool:
    return 4 * model.config.n_embd**2 < PACKED_FROM  # the elements of a block's largest matrix
