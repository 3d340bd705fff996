"""Weighted sums of losses."""

from __future__ import annotations

from torch import Tensor

from .mask import cirm
from .perceptual import pesq, stoi
from .spectrum import compressed, log_mag
from .waveform import negative_si_snr

DB_PER_DECADE = 10.0
SCALES = {"log-mag": 20.0, "cirm": 6.0, "si-snr": 0.1}  # about 1 each on noisy speech of the training recipe
PESQ_WEIGHT, STOI_WEIGHT = 0.3, 4.0


def hybrid(estimate: Tensor, clean: Tensor, noisy: Tensor) -> dict[str, Tensor]:
    """`compressed` - log10 SI-SNR (GTCRN, Rong et al. 2024), (B, T) each -> {"magnitude", "complex", "si-snr"}."""
    return compressed(estimate, clean, noisy) | {"si-snr": negative_si_snr(estimate, clean) / DB_PER_DECADE}


def frcrn(estimate: Tensor, clean: Tensor, noisy: Tensor) -> dict[str, Tensor]:
    """Log magnitude, complex mask and SI-SNR together, after FRCRN (Zhao et al. 2022, eq. 9 to 11).

    Weights 1.0, 0.5 and 0.3 on terms that `SCALES` first brings to a like size, since the mask's term would drown the
    others. (B, T) each -> {"log-mag", "cirm", "si-snr"}.
    """
    return {
        "log-mag": 1.0 * SCALES["log-mag"] * log_mag(estimate, clean, noisy)["log-mag"],
        "cirm": 0.5 * SCALES["cirm"] * cirm(estimate, clean, noisy)["cirm"],
        "si-snr": 0.3 * SCALES["si-snr"] * negative_si_snr(estimate, clean),
    }


def frcrn_perceptual(estimate: Tensor, clean: Tensor, noisy: Tensor) -> dict[str, Tensor]:
    """`frcrn` with PESQ and STOI beside it from the first step, for fine-tuning a model that denoises already.

    Their weights give them gradients as long as that of `frcrn` on such a model. (B, T) each, at 16 kHz ->
    the parts of `frcrn`, "pesq" and "stoi".

    Raises:
        LossUnavailable: torch-pesq or pystoi is not installed.
    """
    return frcrn(estimate, clean, noisy) | {
        "pesq": PESQ_WEIGHT * pesq(estimate, clean, noisy)["pesq"],
        "stoi": STOI_WEIGHT * stoi(estimate, clean, noisy)["stoi"],
    }
