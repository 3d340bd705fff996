"""What becomes of the band above a denoiser's: its gain follows what the denoiser did to its own top band."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

from denoise_app.audio.clip import Samples
from denoise_app.spectral.stft import Stft

Gains = npt.NDArray[np.float32]
"""(frames, rows) in [0, 1], one frame every `TopBand.hop` samples of the denoiser's rate; the first lies at 0."""

Energies = npt.NDArray[np.float32]
"""(2, rows, frames): before and after the denoiser."""

TOP_BAND = (0.6, 0.9)  # of half the denoiser's rate: 4.8 to 7.2 kHz at 16 kHz, below the resampler's slope
FLOOR = 1e-12  # of the energy of a frame at full scale: -120 dB, where nothing is heard


class TopBand:
    """Follows how much of the top band's energy a denoiser leaves: the root of the ratio of after to before.

    Energies are averaged over three frames with the weights 1, 2, 1 (64 ms at 16 kHz): the gain must not flutter.

    Args:
        rows: Signals side by side.
        sample_rate: The denoiser's, in Hz.
    """

    def __init__(self, rows: int, sample_rate: int) -> None:
        self._stft = Stft(sample_rate=sample_rate)
        share = self._stft.frequencies / (sample_rate / 2)
        self._bins = (share >= TOP_BAND[0]) & (share <= TOP_BAND[1])
        self._past = np.zeros((2, rows, self._stft.delay), np.float32)
        self._tail = np.zeros((2, rows, 0), np.float32)  # the last two frames' energies
        self._floor = FLOOR * self._stft.window**2

    @property
    def hop(self) -> int:
        return self._stft.hop

    def push(self, dry: Samples, wet: Samples) -> Gains:
        """Push the same (rows, n) before and after the denoiser; returns the gains that are then known."""
        pending = np.concatenate([self._past, np.stack([dry, wet])], axis=2)
        count = (pending.shape[2] - self._stft.delay) // self.hop
        self._past = pending[:, :, count * self.hop :].copy()  # a view would keep the block alive
        if not count:
            return np.zeros((0, dry.shape[0]), np.float32)
        ready = torch.from_numpy(pending[:, :, : count * self.hop + self._stft.delay]).flatten(0, 1)
        energies = self._stft.frames(ready)[:, self._bins].abs().square().sum(1)  # (2 * rows, bins, N) -> (2 * rows, N)
        return self._smoothed(energies.unflatten(0, (2, -1)).numpy())

    def finish(self) -> Gains:
        """The gains that are left; there is one at or after the last sample."""
        silence = np.zeros((self._past.shape[1], self._stft.delay + self.hop), np.float32)
        return np.concatenate([self.push(silence, silence), self._smoothed(self._tail[:, :, -1:])])

    def _smoothed(self, energies: Energies) -> Gains:
        """The gains of all frames pushed so far but the last."""
        if not self._tail.shape[2]:
            self._tail = energies[:, :, :1]  # before the first frame it was as in it
        wide = np.concatenate([self._tail, energies], axis=2)
        self._tail = wide[:, :, -2:].copy()
        dry, wet = (wide[:, :, :-2] + 2 * wide[:, :, 1:-1] + wide[:, :, 2:]) / 4 + self._floor
        return np.ascontiguousarray(np.sqrt(np.minimum(wet / dry, 1.0)).T, np.float32)  # (rows, N) -> (N, rows)


def gain_at(gains: Gains, times: npt.NDArray[np.float64]) -> Samples:
    """Gains (frames, rows) read between frames at rising `times` (n,), counted in frames -> (rows, n)."""
    if not len(times):
        return np.zeros((gains.shape[1], 0), np.float32)
    first = int(times[0])
    near = gains[first : int(times[-1]) + 2]
    return np.stack([np.interp(times - first, np.arange(len(row)), row) for row in near.T]).astype(np.float32)


class GainQueue:
    """Gains that come frame by frame, read between the frames for every sample of a sound, in order.

    Args:
        rows: Signals side by side.
        frames_per_sample: How far the gains go on with one sample of the sound.
        begin: The sample that is taken first.
        first: The frame that comes first, at or right before that sample.
    """

    def __init__(self, rows: int, frames_per_sample: float, begin: int = 0, first: int = 0) -> None:
        self._step = frames_per_sample
        self._position = begin
        self._first = first  # frame of those that are kept
        self._gains: Gains = np.zeros((0, rows), np.float32)

    def put(self, gains: Gains) -> None:
        """Frames (n, rows)."""
        self._gains = np.concatenate([self._gains, gains])

    @property
    def frames(self) -> int:
        """Samples that lie between gains that are known."""
        last = self._first + len(self._gains) - 2  # a frame less than is known, whatever is lost in rounding
        return max(0, math.floor(last / self._step) - self._position)

    def take(self, frames: int) -> Samples:
        """(rows, frames) for the next samples; beyond the last gain it stays."""
        times = np.arange(self._position, self._position + frames, dtype=np.float64) * self._step
        found = gain_at(self._gains, times - self._first)
        self._position += frames
        used = max(0, min(int(self._position * self._step) - self._first, len(self._gains) - 1))
        self._gains, self._first = self._gains[used:], self._first + used
        return found
