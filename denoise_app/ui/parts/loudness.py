"""Gains that make versions of a recording equally loud, so that the louder one is not taken for the better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

MOST_TURNED_DOWN = 20.0  # dB: a denoiser that leaves next to nothing does not silence the others

Name = TypeVar("Name")  # of a sound, or its file


def matching_gain(loudness: float, target: float) -> float:
    """dB, at most 0, from a loudness down to a target in LUFS; 0 where one of them is silence.

    >>> matching_gain(-20.0, -23.0), matching_gain(-30.0, -23.0), matching_gain(-20.0, float("-inf"))
    (-3.0, 0.0, 0.0)
    """
    return min(0.0, target - loudness) if math.isfinite(target) and math.isfinite(loudness) else 0.0


def equal_loudness(levels: Mapping[Name, float], noisy: Name) -> dict[Name, float]:
    """What makes sounds as loud as the softest of them, in dB, at most 0; none is made louder: it would clip.

    Args:
        levels: Sound -> loudness in LUFS, -inf for silence.
        noisy: The recording among them; what lies more than MOST_TURNED_DOWN below it is left as soft as it is.

    >>> equal_loudness({"noisy": -20.0, "after": -26.0, "gone": -70.0}, "noisy")
    {'noisy': -6.0, 'after': 0.0, 'gone': 0.0}
    """
    lowest = levels[noisy] - MOST_TURNED_DOWN
    target = min(level for level in levels.values() if level >= lowest)
    return {sound: matching_gain(level, target) for sound, level in levels.items()}
