"""What training frees stays with the process, for the next tensor.

glibc asks the system for every large block and gives it back when it is freed. A training step does so some thousand
times, and each time the system hands the block out anew, page by page, each a fault and filled with zeros. A step of
``rxt-alpha`` in float32 (4 rows of 256 tokens, one core) had 166,000 such faults, a twelfth of its time; now it has
next to none after the first (docs/performance.md).
"""

from __future__ import annotations

import ctypes
import os
import sys

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
"""Numbers of what ``mallopt`` sets, from <malloc.h>."""
NEVER = -1
ROOM = 64 * 2**20
"""Bytes that the process asks for beyond what it needs, so that it asks seldom."""
OWN_SETTINGS = ("GLIBC_TUNABLES", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
"""Who sets one of these for a process has decided how it keeps memory."""


def keep_freed_memory() -> bool:
    """Have this process keep what it frees until it ends; for processes that train and do nothing else.

    Returns:
        Whether it does: not where the C library is another than glibc, or the environment says how memory is kept.
    """
    if sys.platform != "linux" or any(name in os.environ for name in OWN_SETTINGS):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(mallopt(what, value) == 1 for what, value in ((MMAP_MAX, 0), (TRIM_THRESHOLD, NEVER), (TOP_PAD, ROOM)))
