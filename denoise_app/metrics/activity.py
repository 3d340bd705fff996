"""Short-time energy and zero-crossing rate along time: where a recording is loud, and where it is noise-like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from denoise_app.audio.clip import Samples

from .signal import short_time_energy, zero_crossing_rate

Floats = npt.NDArray[np.float32]

FRAME_SECONDS = 0.03  # Rabiner and Sambur 1975 count crossings in 10 ms; three of them smooth both curves
MOST_FRAMES = 1000  # of a figure: longer recordings have them further apart
FLOOR_DB = -90.0  # below the rounding noise of 16 bits: differences between silences count nothing


@dataclass(frozen=True)
class Activity:
    """Two curves over the same frames.

    Attributes:
        times: (frames,) s, the middle of each frame.
        energy_db: (frames,) mean power, dB relative to full scale, -90 at least.
        crossings: (frames,) share of neighbouring samples with opposite signs, 0 to 1: low in vowels, near 0.5 in hiss.
    """

    times: Floats
    energy_db: Floats
    crossings: Floats


def activity(samples: Samples, sample_rate: int) -> Activity:
    """The curves of (time,) at a rate in Hz.

    Frames begin every 10 ms; over 10 s further apart, and over 30 s they are longer, so that there are at most 1000.

    >>> time = np.arange(16000, dtype=np.float32) / 16000
    >>> found = activity(np.sin(2 * np.pi * 997 * time) * (time < 0.5), 16000)
    >>> found.energy_db[[10, 90]].round(), found.crossings[[10, 90]].round(3)
    (array([ -3., -90.], dtype=float32), array([0.125, 0.   ], dtype=float32))
    """
    frame = max(2, round(FRAME_SECONDS * sample_rate))
    hop = max(1, frame // 3, -(-samples.size // MOST_FRAMES))
    length = max(frame, hop)  # no sample is left out
    signal = torch.from_numpy(np.array(samples, dtype=np.float32))
    energy = short_time_energy(signal, length, hop).clamp(min=FLOOR_DB).numpy()
    middles = (np.arange(energy.size) * hop + length / 2) / sample_rate
    return Activity(middles.astype(np.float32), energy, zero_crossing_rate(signal, length, hop).numpy())


@dataclass(frozen=True)
class Deviation:
    """Mean absolute difference of two recordings' curves.

    Attributes:
        energy_db: Of the energy, dB.
        crossings: Of the zero-crossing rate, 0 to 1.
    """

    energy_db: float
    crossings: float


def deviation(one: Activity, other: Activity) -> Deviation:
    """How far the curves of two recordings of equal length and rate lie apart.

    >>> tone = np.sin(np.arange(16000) / 5).astype(np.float32)
    >>> deviation(activity(tone / 2, 16000), activity(tone, 16000))
    Deviation(energy_db=6.02, crossings=0.0)
    """
    energy = np.abs(one.energy_db - other.energy_db).mean()
    return Deviation(round(float(energy), 2), round(float(np.abs(one.crossings - other.crossings).mean()), 4))
