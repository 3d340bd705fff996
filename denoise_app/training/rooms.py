"""Simulated rooms: impulse responses by the image method."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

SPEED_OF_SOUND = 343.0  # m/s
EARLY_SECONDS = 0.05  # what the target keeps: reflections that fuse with the direct sound


def shoebox(
    size: npt.ArrayLike, source: npt.ArrayLike, microphone: npt.ArrayLike, rt60: float, length: int, sample_rate: int
) -> Array:
    """Impulse response of a rectangular room, after Allen and Berkley 1979.

    Args:
        size, source, microphone: Metres, (3,) each.
        rt60: Reverberation time in seconds by Eyring's formula, all walls alike; in a flat room the rays along its
            long sides meet fewer walls, so that it decays up to 1.7 times more slowly.
        length: Samples of the result.
        sample_rate: Hz.

    Returns:
        (length,), the direct sound at sample 0 with amplitude 1.
    """
    size_, source_, microphone_ = (np.asarray(value, dtype=np.float64) for value in (size, source, microphone))
    volume = size_.prod()
    surface = 2 * (size_[0] * size_[1] + size_[1] * size_[2] + size_[0] * size_[2])
    reflection = np.exp(-0.161 * volume / (2 * surface * rt60))  # Eyring: amplitude, so half the exponent
    reach = length / sample_rate * SPEED_OF_SOUND
    axes = [_images(size_[k], source_[k], microphone_[k], reach) for k in range(3)]
    squared = axes[0][0][:, None, None] ** 2 + axes[1][0][None, :, None] ** 2 + axes[2][0][None, None, :] ** 2
    bounces = axes[0][1][:, None, None] + axes[1][1][None, :, None] + axes[2][1][None, None, :]
    near = squared < reach**2
    distance = np.sqrt(squared[near])
    direct = distance.min()
    amplitude = reflection ** bounces[near] * direct / distance
    position = (distance - direct) / SPEED_OF_SOUND * sample_rate
    first = np.floor(position).astype(np.int64)
    late = position - first  # spread over two samples: a fractional delay by linear interpolation
    return _spread(first, late, amplitude, length)


def _spread(first: npt.NDArray[np.int64], late: npt.NDArray, amplitude: npt.NDArray, length: int) -> Array:
    early_part = np.bincount(first, amplitude * (1 - late), minlength=length + 2)
    late_part = np.bincount(first + 1, amplitude * late, minlength=length + 2)
    return (early_part[:length] + late_part[:length]).astype(np.float32)


def _images(size: float, source: float, microphone: float, reach: float) -> tuple[npt.NDArray, npt.NDArray]:
    """Along one axis: distances of the image sources to the microphone, and how often each was reflected."""
    order = int(np.ceil(reach / (2 * size)))
    cells = np.arange(-order, order + 1)
    even = 2 * cells * size + source - microphone
    odd = 2 * cells * size - source - microphone
    distance = np.concatenate([even, odd])
    bounces = np.concatenate([np.abs(2 * cells), np.abs(2 * cells - 1)])
    near = np.abs(distance) < reach
    return distance[near], bounces[near]


def draw_rooms(rng: np.random.Generator, count: int, sample_rate: int, seconds: float = 0.4) -> Array:
    """Responses of random rooms, from a booth to a hall, (count, seconds * sample_rate)."""
    length = round(seconds * sample_rate)
    return np.stack([_draw_room(rng, length, sample_rate) for _ in range(count)])


def _draw_room(rng: np.random.Generator, length: int, sample_rate: int) -> Array:
    size = rng.uniform([2.5, 2.5, 2.2], [9.0, 8.0, 4.0])
    microphone = rng.uniform(0.4, size - 0.4)
    direction = rng.normal(size=3)
    distance = rng.uniform(0.3, 2.5)
    source = np.clip(microphone + direction / np.linalg.norm(direction) * distance, 0.2, size - 0.2)
    return shoebox(size, source, microphone, rng.uniform(0.15, 0.7), length, sample_rate)


def from_recording(samples: Array, length: int) -> Array:
    """A measured response in the form of `shoebox`'s: direct sound first with amplitude 1, cut or padded to length."""
    peak = int(np.abs(samples).argmax())
    response = np.zeros(length, dtype=np.float32)
    kept = samples[peak : peak + length]
    response[: kept.size] = kept / samples[peak]
    return response
