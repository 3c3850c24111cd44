"""Freed memory stays with the process, so that a step does not ask the system for it again.

The C library gives large blocks back to the system as soon as they are freed, and every step of training asks for
the same ones again: each page is then mapped and filled with zeros anew. Kept, the pages are reused; the peak is the
same. Measured: docs/log.md, 2026-11-26 (a fifth of a step's CPU time). Only glibc has the switches; elsewhere nothing
happens. A GPU's memory is kept by torch itself.
"""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8  # malloc.h of glibc
GROW_BYTES = 64 << 20


def keep_freed_memory() -> bool:
    """Tell the C library to keep what is freed; whether it listened. Best called before threads are started."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((M_ARENA_MAX, 1), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_TOP_PAD, GROW_BYTES))
    answers = [mallopt(option, value) for option, value in settings]  # each is tried, whatever the others say
    return all(answer == 1 for answer in answers)
