"""Losses on short-time spectra."""

from __future__ import annotations

import torch
from torch import Tensor

from denoise_app.spectral.stft import Stft

STFT = Stft()
COMPRESSION = 0.3
QUIET = 1e-2  # magnitude, some -70 dB below speech: without it the logarithm would count nothing but silence
WAVEFORM_WEIGHT = 50.0  # brings an error of amplitudes near 0.02 to the size of the other two
FLOOR = 1e-8  # of power: under 16-bit rounding noise, keeps the gradient of a power below 1 finite


def log_mag(estimate: Tensor, clean: Tensor, noisy: Tensor) -> dict[str, Tensor]:
    """Mean squared error of log magnitudes, (log(1 + |Ŝ|) - log(1 + |S|))^2 (FRCRN, Zhao et al. 2022).

    (B, T) each -> {"log-mag"}, 0 or more.
    """
    return {"log-mag": (_log_magnitude(estimate) - _log_magnitude(clean)).square().mean()}


def _log_magnitude(signal: Tensor) -> Tensor:
    return torch.log1p(_magnitude(STFT.analyse(signal)))


def _magnitude(spectra: Tensor) -> Tensor:
    return (spectra.real.square() + spectra.imag.square() + FLOOR).sqrt()


def compressed(estimate: Tensor, clean: Tensor, noisy: Tensor) -> dict[str, Tensor]:
    """Errors of spectra compressed to the power 0.3 (Braun and Tashev 2021; weights of GTCRN, Rong et al. 2024).

    70 x MSE of |S|^0.3 and 30 x (MSE of the real + of the imaginary part of S |S|^-0.7), (B, T) each ->
    {"magnitude", "complex"}, both 0 or more.
    """
    ours, theirs = STFT.analyse(estimate), STFT.analyse(clean)
    size_ours, size_theirs = _magnitude(ours), _magnitude(theirs)
    magnitude = (size_ours**COMPRESSION - size_theirs**COMPRESSION).square().mean()
    difference = ours * size_ours ** (COMPRESSION - 1) - theirs * size_theirs ** (COMPRESSION - 1)
    return {
        "magnitude": 70 * magnitude,
        "complex": 30 * (difference.real.square() + difference.imag.square()).mean(),
    }


RESOLUTIONS = (Stft(512, 128), Stft(1024, 256), Stft(2048, 512))  # 32, 64 and 128 ms at 16 kHz


def mrstft(estimate: Tensor, clean: Tensor, noisy: Tensor) -> dict[str, Tensor]:
    """Spectral convergence plus log magnitude over several frame sizes (Yamamoto, Song and Kim 2020, eq. 4 to 6).

    | |Ŝ| - |S| |_F / | |S| |_F + mean | log |Ŝ| - log |S| |, the mean over RESOLUTIONS. With the waveform's mean
    absolute error (Defossez, Synnaeve and Adi 2020). Convergence is bounded for targets that are all but silent.
    (B, T) each -> {"convergence", "log-magnitude", "waveform"}, each 0 or more.
    """
    convergence, logarithm = estimate.new_zeros(()), estimate.new_zeros(())
    for stft in RESOLUTIONS:
        ours, theirs = _magnitude(stft.analyse(estimate)), _magnitude(stft.analyse(clean))
        size = theirs.square().sum((1, 2)).clamp(min=1.0).sqrt()
        convergence = convergence + (((ours - theirs).square().sum((1, 2)) + FLOOR).sqrt() / size).mean()
        logarithm = logarithm + (ours.clamp(min=QUIET).log() - theirs.clamp(min=QUIET).log()).abs().mean()
    return {
        "convergence": convergence / len(RESOLUTIONS),
        "log-magnitude": logarithm / len(RESOLUTIONS),
        "waveform": WAVEFORM_WEIGHT * (estimate - clean).abs().mean(),
    }
