"""Memory of a process that lives for weeks: few heaps, and what is free goes back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys

ARENA_MAX = -8  # M_ARENA_MAX of malloc.h
HEAPS = 2  # of the C library, which else makes eight for each processor, and each keeps what it once needed


def keep_few_heaps() -> bool:
    """Lets threads share HEAPS heaps; to be called before there are any. Returns whether the C library could be told.

    Each piece of work here runs in a thread of its own, and what one thread gave back to its heap no other one takes.
    """
    library = _gnu()
    return library is not None and bool(library.mallopt(ARENA_MAX, HEAPS))


def give_back() -> bool:
    """Returns to the system what was freed; whether that was possible. Elsewhere it happens by itself or not."""
    gc.collect()
    library = _gnu()
    return library is not None and bool(library.malloc_trim(0))


def _gnu() -> ctypes.CDLL | None:
    """The GNU C library, where it is the one of this program."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
