"""The C library's memory allocator, told that a training step gives back and takes the same memory again and again."""

import ctypes
import sys

# Numbers of mallopt in glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGEST = 2**31 - 1  # what mallopt's int can say: 2 GiB


def keep_freed_memory() -> bool:
    """Makes freed memory stay with the process, up to 2 GiB of it; returns whether this C library can do that.

    On a CPU each step allocates its temporary arrays anew. By default glibc maps large blocks freshly every time, and
    the kernel clears each page at its first touch: of a 10 M GPT's step that was a sixth. One arena serves all
    threads, since only the first one can grow to such sizes. To be called before there are threads.
    """
    if not sys.platform.startswith('linux'):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library, such as musl
        return False
    return all(
        mallopt(option, value) == 1
        for option, value in ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, LARGEST), (M_TRIM_THRESHOLD, LARGEST))
    )
