"""How many threads compute: the one place that says so.

The networks here are small and run frame by frame, so that one thread is the fastest: with torch's own choice, one for
each processor, most of the time goes into waiting for each other (8 to 25 times the processor time on two cores).
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "DENOISE_THREADS"
LIBRARIES = ("OMP", "OPENBLAS", "MKL")  # each reads <name>_NUM_THREADS when it is first loaded

_lock = threading.Lock()
_here = threading.local()  # .inside: whether this thread is within `limited`
_jobs = 0
_before = 0  # torch's threads before the first of the jobs under way


def count() -> int:
    """Threads of one job: DENOISE_THREADS, else 1."""
    text = os.environ.get(VARIABLE, "").strip()
    return int(text) if text.isdecimal() and int(text) > 0 else 1


def environment(threads: int) -> dict[str, str]:
    """The variables by which a process that is started computes with so many threads."""
    return dict.fromkeys((VARIABLE, *(f"{library}_NUM_THREADS" for library in LIBRARIES)), str(threads))


def use(threads: int) -> None:
    """Sets the threads of this process and of each that it starts, for all that computes in it, not the engine alone.

    For a program's entry, before torch and NumPy are loaded.
    """
    os.environ |= environment(threads)
    if torch := sys.modules.get("torch"):  # called from a program that has it loaded already
        torch.set_num_threads(threads)


@contextmanager
def limited() -> Iterator[None]:
    """Within it torch computes with `count()` threads, after it with as many as before.

    From any thread, and within itself. torch keeps the number for each thread, and takes the last one that was set
    anywhere for a thread that is new: hence what was before is asked when no other job is under way.
    """
    import torch  # here, so that `use` comes before it is loaded

    global _jobs, _before
    if getattr(_here, "inside", False):
        yield
        return
    with _lock:
        if not _jobs:
            _before = torch.get_num_threads()
        _jobs += 1
        torch.set_num_threads(count())
    _here.inside = True
    try:
        yield
    finally:
        _here.inside = False
        with _lock:
            _jobs -= 1
            torch.set_num_threads(_before)
