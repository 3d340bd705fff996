"""What becomes of the band above a denoiser's: its gain follows what the denoiser did to its own top band."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from denoise_app.audio.clip import Samples
from denoise_app.spectral.stft import Stft

Gains = npt.NDArray[np.float32]
"""(frames, rows) in [0, 1], one frame every `TopBand.hop` samples of the denoiser's rate; the first lies at 0."""

TOP_BAND = (0.6, 0.9)  # of half the denoiser's rate: 4.8 to 7.2 kHz at 16 kHz, below the resampler's slope
FLOOR = 1e-12  # of the energy of a frame at full scale: -120 dB, where nothing is heard


class TopBand:
    """Follows how much of the top band's energy a denoiser leaves.

    Args:
        rows: Signals side by side.
        sample_rate: The denoiser's, in Hz.
    """

    def __init__(self, rows: int, sample_rate: int) -> None:
        self._stft = Stft(sample_rate=sample_rate)
        share = self._stft.frequencies / (sample_rate / 2)
        self._bins = (share >= TOP_BAND[0]) & (share <= TOP_BAND[1])
        self._past = np.zeros((2, rows, self._stft.delay), np.float32)
        self._energies: list[npt.NDArray[np.float32]] = []

    @property
    def hop(self) -> int:
        return self._stft.hop

    def push(self, dry: Samples, wet: Samples) -> None:
        """Hears the same (rows, n) before and after the denoiser."""
        heard = np.concatenate([self._past, np.stack([dry, wet])], axis=2)
        count = (heard.shape[2] - self._stft.delay) // self.hop
        self._past = heard[:, :, count * self.hop :].copy()  # a view would keep the block alive
        if count:
            ready = torch.from_numpy(heard[:, :, : count * self.hop + self._stft.delay]).flatten(0, 1)
            energies = self._stft.frames(ready)[:, self._bins].abs().square().sum(1)  # (2 * rows, bins, n)
            self._energies.append(energies.unflatten(0, (2, -1)).numpy())

    def gains(self) -> Gains:
        """Of all that was pushed: the root of the energies' ratio, each averaged over three frames."""
        silence = np.zeros((*self._past.shape[1:2], self._stft.delay + self.hop), np.float32)
        self.push(silence, silence)
        dry, wet = _smooth(np.concatenate(self._energies, axis=2)) + FLOOR * self._stft.window**2
        return np.ascontiguousarray(np.sqrt(np.minimum(wet / dry, 1.0)).T, np.float32)  # (rows, N) -> (N, rows)


def _smooth(energies: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(..., frames) averaged with the weights 1, 2, 1: 64 ms at 16 kHz, so that the gain does not flutter."""
    wide = np.pad(energies, ((0, 0), (0, 0), (1, 1)), mode="edge")
    return np.float32(0.25) * (wide[..., :-2] + wide[..., 2:]) + np.float32(0.5) * wide[..., 1:-1]


def gain_at(gains: Gains, times: npt.NDArray[np.float64]) -> Samples:
    """Gains (frames, rows) read between frames at `times` (n,), counted in frames -> (rows, n)."""
    return np.stack([np.interp(times, np.arange(len(row)), row) for row in gains.T]).astype(np.float32)
