"""Denoisers whose result is known, for tests of what carries the sound to them and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor

from denoise_app.denoiser import Denoiser
from denoise_app.spectral.stft import SpectralDenoiser, Stft


class SpectralGain(SpectralDenoiser):
    """Causal: every bin times a number."""

    def __init__(self, gain: float, stft: Stft) -> None:
        super().__init__(stft)
        self.gain = gain

    def initial_frames(self, batch: int) -> None:
        return None

    def enhance(self, spectra: Tensor, memory: Any) -> tuple[Tensor, Any]:
        return spectra * self.gain, memory


class WholeGain:
    """Not causal: every sample times a number."""

    causal = False
    latency = 0

    def __init__(self, gain: float, sample_rate: int) -> None:
        self.gain = gain
        self.sample_rate = sample_rate

    def __call__(self, noisy: Tensor) -> Tensor:
        return noisy * self.gain


@pytest.fixture(params=["causal", "whole"])
def gain(request: pytest.FixtureRequest) -> Callable[..., Denoiser]:
    """Both kinds of a denoiser that multiplies by a number: gain(0.5), gain(1, sample_rate=48_000)."""

    def build(number: float, sample_rate: int = 16_000) -> Denoiser:
        if request.param == "causal":
            return SpectralGain(number, Stft(sample_rate=sample_rate))
        return WholeGain(number, sample_rate)

    return build
