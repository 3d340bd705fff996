"""Which excerpts of a long recording are evaluated, so that a metric's cost is bounded."""

from __future__ import annotations

import numpy as np


def spread(frames: int, length: int, most: int) -> list[slice]:
    """Windows of `length` samples spread evenly over `frames`, from the first sample to the last.

    Args:
        frames: Samples in all.
        length: Samples in a window.
        most: How many windows at most; where that many cover the whole, there are just enough to do so.

    Returns:
        One slice of everything where it fits into one window.

    >>> spread(8, 10, 3), spread(25, 10, 3), spread(1000, 10, 3)
    ([slice(0, 8, None)], [slice(0, 10, None), slice(8, 18, None), slice(15, 25, None)], \
[slice(0, 10, None), slice(495, 505, None), slice(990, 1000, None)])
    """
    if frames <= length:
        return [slice(0, frames)]
    count = min(most, -(-frames // length))
    starts = np.linspace(0, frames - length, count).round().astype(int)
    return [slice(start, start + length) for start in starts.tolist()]
