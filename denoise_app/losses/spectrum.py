"""Losses on short-time spectra."""

from __future__ import annotations

import torch
from torch import Tensor

from denoise_app.spectral.stft import Stft

STFT = Stft()
COMPRESSION = 0.3
FLOOR = 1e-8  # of power: under 16-bit rounding noise, keeps the gradient of a power below 1 finite


def log_mag(estimate: Tensor, clean: Tensor, noisy: Tensor) -> dict[str, Tensor]:
    """Mean squared error of log(1 + magnitude) (FRCRN, Zhao et al. 2022), (B, T) each -> {"log-mag"}, 0 or more."""
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
