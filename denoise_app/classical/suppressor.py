"""What the three spectral denoisers share: a gain per bin from the noise that a tracker finds, and its limits."""

from __future__ import annotations

from abc import abstractmethod
from copy import copy
from typing import Any, Self

import torch
from torch import Tensor

from denoise_app.spectral.noise_floor import LEAST_POWER, KnownNoise, NoiseEstimate, NoiseState, NoiseTracker
from denoise_app.spectral.stft import SpectralDenoiser, Stft

MOST_SNR = 1e4  # 40 dB: above it every rule leaves a bin alone, and no power of it overflows


class Suppressor(SpectralDenoiser):
    """Tracks the noise power, asks `gain` for a factor per bin, and keeps it in [floor, 1].

    The phase stays noisy. Every rule depends on ratios of powers alone, so that a louder input gives a louder output
    and nothing else. Clean speech loses something, to an SI-SDR of about 20 dB: its first tenth of a second is taken
    for noise, the ends of words fade into what the tracker takes for the floor, and a voice sets in before its SNR is
    believed.

    Args:
        floor_db: The least gain, dB: what is left of the noise, so that it does not break up into tones.
        stft: The transform; the default is the house's.

    Raises:
        ValueError: a floor above 0 dB.
    """

    def __init__(self, floor_db: float, stft: Stft | None = None) -> None:
        super().__init__(stft)
        if floor_db > 0:
            raise ValueError(f"the floor is a gain of at most 0 dB, not {floor_db}")
        self.floor = 10 ** (floor_db / 20)
        self.tracker: NoiseEstimate = NoiseTracker(self.stft)

    def with_noise(self, power: Tensor) -> Self:
        """The same for noise of a known power per bin, (rows, bins), in each row of a batch, which stays as it is."""
        told = copy(self)
        told.tracker = KnownNoise(power)
        return told

    def initial_memory(self, batch: int) -> Any:
        """What `gain` remembers before the first frame."""
        return ()

    @abstractmethod
    def gain(self, power: Tensor, noise: Tensor, memory: Any) -> tuple[Tensor, Any]:
        """|Y|^2 and the noise power N of n frames, (n, B, bins) each -> gain (n, B, bins), the memory after them."""

    def initial_frames(self, batch: int) -> tuple[NoiseState, Any]:
        return self.tracker.initial_state(batch), self.initial_memory(batch)

    def enhance(self, spectra: Tensor, memory: tuple[NoiseState, Any]) -> tuple[Tensor, tuple[NoiseState, Any]]:
        tracked, rule = memory
        power = (spectra.real.square() + spectra.imag.square()).permute(2, 0, 1).contiguous()  # (B, F, N) -> (N, B, F)
        noise, tracked = self.tracker.track(power, tracked)
        gain, rule = self.gain(power, noise, rule)
        gain = gain.clamp(self.floor, 1.0)
        return spectra * gain.permute(1, 2, 0), (tracked, rule)


def posterior_snr(power: Tensor, noise: Tensor) -> Tensor:
    """gamma = |Y|^2 / N in [0, MOST_SNR], finite where there is no noise, 0 where there is nothing at all."""
    return (power / noise.clamp_min(LEAST_POWER)).clamp_max(MOST_SNR)


class DecisionDirected(Suppressor):
    """Rules on the a-priori SNR xi, estimated by decision (Ephraim and Malah 1984, equation 51; Cappé 1994).

    Args:
        smoothing: alpha, the weight of the last frame's decision, 0 to 1 for frames 16 ms apart: more leaves fewer
            musical tones and blurs onsets.
        least_prior_db: Lower bound of xi, dB.
        floor_db, stft: As for `Suppressor`.

    Raises:
        ValueError: smoothing outside [0, 1), or a floor above 0 dB.
    """

    def __init__(self, smoothing: float, least_prior_db: float, floor_db: float, stft: Stft | None = None) -> None:
        super().__init__(floor_db, stft)
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing lies in [0, 1), not {smoothing}")
        self.smoothing = smoothing ** (self.stft.hop / self.stft.sample_rate / 0.016)
        self.least_prior = 10 ** (least_prior_db / 10)

    @abstractmethod
    def rule(self, prior: Tensor, snr: Tensor) -> Tensor:
        """xi and gamma, (B, bins) each -> gain (B, bins)."""

    def initial_memory(self, batch: int) -> Tensor:
        """Clean over noise power in the frame before the first, (B, bins)."""
        return torch.zeros(batch, self.stft.bins)

    def gain(self, power: Tensor, noise: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        snr = posterior_snr(power, noise)
        fresh = (1 - self.smoothing) * (snr - 1).clamp_min(0)  # (51), second term: P[gamma - 1]
        gains = torch.empty_like(snr)
        for t, (gamma, onset) in enumerate(zip(snr, fresh, strict=True)):  # (B, bins) each
            prior = torch.add(onset, memory, alpha=self.smoothing).clamp_min(self.least_prior)  # (51)
            gain = self.rule(prior, gamma).clamp_max(1.0)
            memory = gain.square() * gamma  # A^2 / N of this frame
            gains[t] = gain
        return gains, memory
