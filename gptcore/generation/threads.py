"""How many threads compute. A program that generates asks here, and nothing else in it sets them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from gptcore.generation.linear import PACKED_FROM
from gptcore.model.gpt import GPT

MANY_SLOTS = 32  # of a small model: two threads make so many texts a sixth faster than one, and 16 no faster


@contextmanager
def one_thread() -> Iterator[None]:
    """With one thread, the same request gives the same bytes, whatever is beside it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compute_threads(model: GPT, slots: int) -> int:
    """How many engines share the slots and compute at the same time, each in a thread: as many as there are cores.

    One on a GPU. For a small model one or, from 32 slots on, two: its threads wait for each other's Python.
    """
    if model.wte.weight.device.type != "cpu":
        return 1
    cores = torch.get_num_threads()
    if not is_small(model):
        return cores
    return min(cores, 2) if slots >= MANY_SLOTS else 1


def suited_to(model: GPT) -> AbstractContextManager[None]:
    """One thread for a small model, where several would wait for each other longer than they compute."""
    return one_thread() if is_small(model) else nullcontext()


def is_small(model: GPT) -> bool:
    return 4 * model.config.n_embd**2 < PACKED_FROM  # the elements of a block's largest matrix
