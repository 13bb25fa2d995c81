"""How much memory there is, how much a process took, and an allocator that keeps freed memory for the next step."""

import ctypes
import gc
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> None:
    """On glibc, allocate large tensors from the heap and do not return memory to the system between steps.

    By default each one is mapped and unmapped, and the kernel zeroes its pages again every step: a third of a small
    model's time with a loss over thousands of ids. Does nothing on other platforms.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
            libc.mallopt(M_TRIM_THRESHOLD, -1)


@contextmanager
def garbage_kept() -> Iterator[None]:
    """Python looks for unreachable objects only when `gc.collect` is called, not in the midst of a step.

    A search goes through all objects of torch, while a GPU waits for its next work. What there is now is not searched,
    unless the caller has frozen some: Python unfreezes all or nothing, so ours would never be freed.
    """
    had_frozen = gc.get_freeze_count() > 0
    gc.collect()
    if not had_frozen:
        gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        if not had_frozen:
            gc.unfreeze()


def memory_bytes(device: torch.device) -> int:
    """Total memory of the device, as free memory varies by chance; of a CPU, the machine's."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def peak_bytes() -> int:
    """Peak memory of this process."""
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kibibytes if sys.platform == "darwin" else kibibytes * 1024
