"""Make the allocator keep freed memory for the next step, and measure peak memory."""

import ctypes
import resource
import sys

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


def peak_bytes() -> int:
    """Peak memory of this process."""
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kibibytes if sys.platform == "darwin" else kibibytes * 1024
