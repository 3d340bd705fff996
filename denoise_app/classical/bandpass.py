"""A band-pass filter: what lies outside the voice's band goes, whatever it is.

Source: Butterworth 1930, "On the theory of filter amplifiers", for the magnitude; the frequency sampling method
    (Rabiner, Gold and McGonegal 1970) for the filter; overlap-save (Oppenheim and Schafer, section 8.7.3).
Latency: 1024 samples, 64 ms at 16 kHz, with the default low edge; causal.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.signal import butter, sosfreqz
from torch import Tensor

from .blocks import denoise_whole

ORDER = 4  # 24 dB per octave at either side; an even order's magnitude is smooth, so that its response is short
PERIODS = 2.5  # of the low edge on either side: what is cut off of the response is below -55 dB


class BandPass:
    """Butterworth's magnitude with no phase at all: -3.01 dB at both edges, 0 in between, nothing at 0 Hz.

    A recursive Butterworth filter delays the low edge by milliseconds more than the middle, which can be neither
    aligned with its input nor mixed back with it; so the same magnitude is given to a symmetric finite response, whose
    delay is the same for all frequencies and is taken out exactly.

    Args:
        low, high: The edges, Hz; 20 <= low < high < sample_rate / 2.
        sample_rate: Hz.

    Raises:
        ValueError: edges out of order.
    """

    causal = True
    hop = 512  # 32 ms at 16 kHz; only how much is filtered at a time

    def __init__(self, low: float = 100.0, high: float = 7600.0, sample_rate: int = 16_000) -> None:
        if not 20 <= low < high < sample_rate / 2:
            raise ValueError(f"a band needs 20 <= low < high < {sample_rate / 2:g} Hz, not {low:g} and {high:g}")
        self.low, self.high, self.sample_rate = low, high, sample_rate
        self.delay = math.ceil(PERIODS * sample_rate / low / self.hop) * self.hop  # half of the response
        self.latency = self.delay + self.hop
        response = np.pad(impulse_response(low, high, sample_rate, self.delay), (0, self.hop - 1))
        self._spectrum = torch.from_numpy(np.fft.rfft(response)).to(torch.complex64)

    def initial_state(self, batch: int) -> Tensor:
        """The last 2 * delay samples that were heard, (B, 2 * delay)."""
        return torch.zeros(batch, 2 * self.delay)

    def advance(self, noisy: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        heard = torch.cat([state, noisy], dim=1)
        frames = heard.unfold(1, 2 * self.delay + self.hop, self.hop)  # (B, n, 2 * delay + hop)
        filtered = torch.fft.irfft(torch.fft.rfft(frames) * self._spectrum, n=frames.shape[2])
        return filtered[:, :, 2 * self.delay :].flatten(1), heard[:, noisy.shape[1] :]  # the rest has wrapped around

    def __call__(self, noisy: Tensor) -> Tensor:
        """(B, T) -> (B, T)."""
        return denoise_whole(self, noisy)


def impulse_response(low: float, high: float, sample_rate: int, half: int) -> np.ndarray:
    """The symmetric response (2 * half + 1,) whose magnitude is Butterworth's at every multiple of its resolution.

    Args:
        low, high: Edges, Hz.
        sample_rate: Hz.
        half: Samples on either side of the middle.
    """
    length = 2 * half + 1
    sections = butter(ORDER, [low, high], "bandpass", fs=sample_rate, output="sos")
    grid = np.arange(half + 1) * (sample_rate / length)
    _, response = sosfreqz(sections, grid, fs=sample_rate)
    return np.roll(np.fft.irfft(np.abs(response), n=length), half)
