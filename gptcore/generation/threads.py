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


def suited_to(model: GPT) -> AbstractContextManager[None]:
    """One thread for a small model, where several would wait for each other longer than they compute."""
    largest = 4 * model.config.n_embd**2  # the elements of a block's largest matrix
    return one_thread() if largest < PACKED_FROM else nullcontext()
