"""What the C library does with freed memory: a training step frees and takes the same blocks over and over.

Given back to the system, each block costs a page fault per 4 KB when it is taken again. glibc can be told to keep them;
elsewhere nothing is done. It holds for the whole process, so only programs call it, never a module on import.
"""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8


def keep_freed_memory() -> bool:
    """Keep what is freed for the next step, in one arena for all threads; whether this system can."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc; Windows has no library called None
        return False
    settings = ((TRIM_THRESHOLD, 2**31 - 1), (MMAP_THRESHOLD, 2**30), (ARENA_MAX, 1))
    return all(mallopt(name, value) == 1 for name, value in settings)
