"""Losses from perceptual models: PESQ and STOI."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from denoise_app.spectral.stft import Stft

WEIGHT = 1.0  # its gradient is then a third to once that of `hybrid` where models end
RING = 4096  # samples after which what both filters answer is below float32
ACTIVE = 1e-8  # of power: speech at the level of losses lies near 1e-3
LEVEL = 1e7  # power of 325 to 3250 Hz at which the tables of PESQ listen
REFERENCE_LAG, REFERENCE_SCALE = 5120, 1.04684  # samples and power that the ITU's program counts beside the signal's
SHORTEST = 512 + 19 * 256  # samples: disturbances are averaged over 20 frames

STFT = Stft()
BANDS, LOWEST = 15, 150  # a third of an octave each, centre of the first in Hz
STRETCH = 24  # frames, 384 ms, over which envelopes are compared
MOST_ABOVE = 1 + 10 ** (15 / 20)  # of the clean envelope: distortion beyond -15 dB counts as no worse
SPOKEN = 1e-2  # of the loudest stretch's energy; quieter ones are pauses
FAINT = 1e-4  # of an envelope: far below those of speech, keeps the gradients on silence finite


class LossUnavailable(RuntimeError):
    """A loss needs a package that is not installed; the message says which."""


def _without(package: str) -> LossUnavailable:
    return LossUnavailable(
        f"this loss needs the Python package {package}, which is not installed; requirements.txt has it"
    )


def pesq(estimate: Tensor, clean: Tensor, noisy: Tensor) -> dict[str, Tensor]:
    """The distance from the best score of PESQ-WB, differentiable (ITU-T P.862 and P.862.2), at a small weight.

    d = 0.1 d_symmetric + 0.0309 d_asymmetric, the disturbances of loudness between the two sounds; the score is a
    logistic curve of 4.5 - d. The program is torch-pesq's, which aligns levels but not times; its two recursive filters
    are applied by FFT here, which is many times faster. Examples without speech, or shorter than 0.34 s, count as 0.
    (B, T) each, at 16 kHz -> {"pesq"}, 0 or more.

    Raises:
        LossUnavailable: torch-pesq is not installed.
    """
    listener = _listener(estimate.device)
    has_speech = clean.square().mean(1) > ACTIVE
    if clean.shape[1] < SHORTEST or not has_speech.any():
        return {"pesq": 0 * estimate.sum()}
    symmetric, asymmetric = listener.raw(clean[has_speech], estimate[has_speech])
    distance = 0.1 * symmetric + 0.0309 * asymmetric
    return {"pesq": (WEIGHT / len(clean) * distance.sum()).to(estimate.dtype)}


def stoi(estimate: Tensor, clean: Tensor, noisy: Tensor) -> dict[str, Tensor]:
    """1 minus the short-time objective intelligibility (Taal et al. 2011; as a loss after Fu et al. 2018).

    1 - the mean correlation of the two sounds' envelopes in third-octave bands over 384 ms (eq. 1 to 6 of Taal et al.).
    Spectra are those of the other losses, 32 ms at 16 kHz in place of 25.6 ms at 10 kHz. Pauses are left out by the
    energy of those stretches, where the measure cuts out single frames. Examples without speech, or shorter than the
    stretch, count as 0. (B, T) each, at 16 kHz -> {"stoi"}, from 0 to 2.

    Raises:
        LossUnavailable: pystoi is not installed.
    """
    bands = _third_octaves(estimate.device)
    has_speech = clean.square().mean(1) > ACTIVE
    if clean.shape[1] < STRETCH * STFT.hop + STFT.delay or not has_speech.any():
        return {"stoi": 0 * estimate.sum()}
    ours, theirs = _stretches(estimate[has_speech], bands), _stretches(clean[has_speech], bands)
    energy = theirs.square().sum((1, 3))  # (B, N)
    spoken = energy > SPOKEN * energy.amax(1, keepdim=True)
    ours = torch.minimum(ours * (_length(theirs) / _length(ours)), MOST_ABOVE * theirs)
    ours, theirs = (x - x.mean(3, keepdim=True) for x in (ours, theirs))
    alike = (ours * theirs).sum(3) / (_length(ours) * _length(theirs))[..., 0]  # (B, bands, N)
    lost = ((1 - alike.mean(1)) * spoken).sum(1) / spoken.sum(1)
    return {"stoi": lost.sum() / len(clean)}


def _stretches(signal: Tensor, bands: Tensor) -> Tensor:
    """(B, T) -> its envelopes in every stretch of 384 ms, (B, bands, N, STRETCH)."""
    spectra = STFT.frames(signal)
    power = bands @ (spectra.real.square() + spectra.imag.square())
    return (power + FAINT**2).sqrt().unfold(2, STRETCH, 1)


def _length(x: Tensor) -> Tensor:
    return (x.square().sum(3, keepdim=True) + FAINT**2).sqrt()


@cache
def _third_octaves(device: torch.device) -> Tensor:
    """Which bins make each band, (bands, bins) of 0 and 1."""
    try:
        from pystoi.utils import thirdoct
    except ImportError as error:
        raise _without("pystoi") from error
    bands, _ = thirdoct(STFT.sample_rate, STFT.window, BANDS, LOWEST)
    return torch.as_tensor(bands, dtype=torch.float32, device=device)


@cache
def _listener(device: torch.device) -> Any:
    """torch-pesq's model of a listener, computing in float64 as it comes."""
    try:
        from torch_pesq import PesqLoss
    except ImportError as error:
        raise _without("torch-pesq") from error

    class Listener(PesqLoss):
        def align_level(self, signal: Tensor) -> Tensor:
            band = _filtered(signal, self.power_filter)
            power = band.square().sum(1, keepdim=True) / (signal.shape[1] + REFERENCE_LAG) / REFERENCE_SCALE
            return signal * (LEVEL / power.clamp(min=ACTIVE)).sqrt()  # a silent estimate stays silent

        def preemphasize(self, signal: Tensor) -> Tensor:
            ramp = torch.arange(1, 16, device=signal.device) / 16
            fade = torch.ones_like(signal[0])
            fade[:15], fade[-15:] = ramp, ramp.flip(0)
            return _filtered(signal * fade, self.pre_filter)

    return Listener(1.0, sample_rate=16_000).to(device)


def _filtered(signal: Tensor, coefficients: Tensor) -> Tensor:
    """(B, T) through the recursive filter with coefficients (numerator, denominator), (2, n)."""
    size = next_fast_len(signal.shape[1] + RING, real=True)
    numerator, denominator = torch.fft.rfft(coefficients.double(), size)
    spectra = torch.fft.rfft(signal, size) * (numerator / denominator).to(torch.complex64)
    return torch.fft.irfft(spectra, size)[:, : signal.shape[1]]
