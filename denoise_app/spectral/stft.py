"""The analysis and synthesis pair, and how a spectral method becomes a denoiser of samples.

This is the only caller of torch.stft and the only place where frame sizes are written.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Stft:
    """A pair of short-time Fourier transforms that gives the signal back exactly.

    Analysis and synthesis both use a periodic square-root Hann window (Griffin and Lim 1984): with an overlap of
    half a window or more its squares sum to a constant, so synthesis needs no running normalisation.

    Attributes:
        window: Samples per frame.
        hop: Samples between frames; divides the window at least twice.
        sample_rate: Hz.
    """

    window: int = 512  # 32 ms at 16 kHz
    hop: int = 256  # 16 ms at 16 kHz
    sample_rate: int = 16_000

    def __post_init__(self) -> None:
        if self.window % self.hop or self.window < 2 * self.hop:
            raise ValueError(f"the hop must divide the window at least twice, not {self.window}/{self.hop}")

    @property
    def bins(self) -> int:
        return self.window // 2 + 1

    @property
    def delay(self) -> int:
        """Samples between a frame's first and its newest hop: what overlap-add still waits for."""
        return self.window - self.hop

    @cached_property
    def frequencies(self) -> Tensor:
        """Centre of each bin in Hz, (bins,)."""
        return torch.arange(self.bins) * (self.sample_rate / self.window)

    def taper(self, like: Tensor) -> Tensor:
        """The square-root Hann window, (window,), scaled so that analysis then synthesis is the identity."""
        hann = torch.hann_window(self.window, periodic=True, dtype=torch.float64)
        return (hann * (2 * self.hop / self.window)).sqrt().to(device=like.device, dtype=like.dtype)

    def frames(self, signal: Tensor) -> Tensor:
        """(B, n * hop + delay) -> complex spectra (B, bins, n) of the n full frames, with no padding."""
        return torch.stft(signal, self.window, self.hop, window=self.taper(signal), center=False, return_complex=True)

    def overlap_add(self, spectra: Tensor) -> Tensor:
        """Complex (B, bins, n) -> (B, n * hop + delay): the sum of the windowed frames."""
        frames = torch.fft.irfft(spectra.transpose(1, 2), n=self.window)  # (B, F, N) -> (B, N, W)
        frames = frames * self.taper(frames)
        parts = frames.unflatten(2, (-1, self.hop))  # (B, N, W / hop, hop)
        overlap = parts.shape[2]
        return sum(
            F.pad(parts[:, :, k].flatten(1), (k * self.hop, (overlap - 1 - k) * self.hop)) for k in range(overlap)
        )  # type: ignore[return-value]

    def analyse(self, signal: Tensor) -> Tensor:
        """(B, T) -> complex spectra (B, bins, ceil((T + delay) / hop)); every sample is seen by all its frames."""
        n = math.ceil((signal.shape[1] + self.delay) / self.hop)
        return self.frames(F.pad(signal, (self.delay, n * self.hop - signal.shape[1])))

    def synthesise(self, spectra: Tensor, length: int) -> Tensor:
        """Complex (B, bins, n) -> (B, length): the inverse of `analyse` for a signal of that length."""
        return self.overlap_add(spectra)[:, self.delay : self.delay + length]


class SpectralDenoiser(nn.Module):
    """A causal denoiser that works frame by frame on spectra; keeps `StreamingDenoiser`.

    A subclass gives `enhance` and `initial_frames`; framing, state and alignment are the same for all.

    Attributes:
        look_ahead: Frames that `enhance` waits for: what it returns at frame n is for frame n - look_ahead.
    """

    causal: bool = True
    look_ahead: int = 0

    def __init__(self, stft: Stft | None = None) -> None:
        super().__init__()
        self.stft = stft or Stft()

    @property
    def sample_rate(self) -> int:
        return self.stft.sample_rate

    @property
    def hop(self) -> int:
        return self.stft.hop

    @property
    def delay(self) -> int:
        return self.stft.delay + self.look_ahead * self.hop

    @property
    def latency(self) -> int:
        return self.stft.window + self.look_ahead * self.hop

    @abstractmethod
    def initial_frames(self, batch: int) -> Any:
        """What `enhance` remembers before the first frame."""

    @abstractmethod
    def enhance(self, spectra: Tensor, memory: Any) -> tuple[Tensor, Any]:
        """Noisy spectra, complex (B, bins, n), and the memory -> clean spectra (B, bins, n), the memory after them.

        With a look-ahead the clean ones are late by that many frames, and zero before the first.
        """

    def initial_state(self, batch: int) -> tuple[Tensor, Tensor, Any]:
        like = next(self.parameters(), torch.empty(0))
        past = torch.zeros(batch, self.stft.delay, device=like.device)
        return past, past, self.initial_frames(batch)

    def advance(self, noisy: Tensor, state: tuple[Tensor, Tensor, Any]) -> tuple[Tensor, tuple[Tensor, Tensor, Any]]:
        past, tail, memory = state
        heard = torch.cat([past, noisy], dim=1)
        spectra, memory = self.enhance(self.stft.frames(heard), memory)
        added = self.stft.overlap_add(spectra)  # (B, n * hop + delay)
        clean = torch.cat([added[:, : self.stft.delay] + tail, added[:, self.stft.delay :]], dim=1)
        length = noisy.shape[1]
        return clean[:, :length], (heard[:, length:], clean[:, length:], memory)

    def forward(self, noisy: Tensor) -> Tensor:
        """(B, T) -> (B, T)."""
        heard = F.pad(noisy, (0, self.look_ahead * self.hop))
        spectra, _ = self.enhance(self.stft.analyse(heard), self.initial_frames(noisy.shape[0]))
        return self.stft.synthesise(spectra[:, :, self.look_ahead :], noisy.shape[1])
