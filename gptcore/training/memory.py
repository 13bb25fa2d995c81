"""The allocator, told to keep what a step frees: the next step needs the same again; and the most memory held."""

import ctypes
import resource
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> None:
    """On glibc, serve large tensors from the heap and do not hand it back between steps.

    By default each of them is mapped and unmapped, so the kernel clears its pages anew every step: a third of a small
    model's time with a loss over thousands of ids. Elsewhere nothing happens.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
            libc.mallopt(M_TRIM_THRESHOLD, -1)


def peak_bytes() -> int:
    """The most memory that this process ever held."""
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kibibytes if sys.platform == "darwin" else kibibytes * 1024
