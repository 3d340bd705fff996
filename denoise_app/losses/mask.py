"""Losses on the mask that turns the noisy spectrum into the estimate."""

from __future__ import annotations

import torch
from torch import Tensor

from .spectrum import STFT

BOUND = 10.0  # K of Williamson et al.: masks beyond it are pressed together
STEEPNESS = 0.1  # C of Williamson et al.
FLOOR = 1e-4  # of power: bins that hold nothing have no mask


def cirm(estimate: Tensor, clean: Tensor, noisy: Tensor) -> dict[str, Tensor]:
    """Mean squared error of the complex ratio mask (Williamson, Wang and Wang 2016, eq. 8 to 11).

    With noisy spectrum X, clean S: M = S X* / (|X|^2 + eps), real and imaginary part each bounded by
    K (1 - e^(-C M)) / (1 + e^(-C M)). The estimate's mask is found the same way, so any model can be trained with it.
    (B, T) each -> {"cirm"}, from 0 to 8 K^2.
    """
    observed = STFT.analyse(noisy)
    difference = _bounded_mask(STFT.analyse(estimate), observed) - _bounded_mask(STFT.analyse(clean), observed)
    return {"cirm": difference.square().sum(-1).mean()}


def _bounded_mask(spectra: Tensor, observed: Tensor) -> Tensor:
    """Complex (B, F, N) each -> the bounded mask's real and imaginary parts (B, F, N, 2)."""
    power = observed.real.square() + observed.imag.square()
    mask = torch.view_as_real(spectra * observed.conj() / (power + FLOOR))
    return BOUND * torch.tanh(STEEPNESS / 2 * mask)
