"""Losses made of losses."""

from __future__ import annotations

from torch import Tensor

from .spectrum import compressed
from .waveform import negative_si_snr

DB_PER_DECADE = 10.0


def hybrid(estimate: Tensor, clean: Tensor, noisy: Tensor) -> dict[str, Tensor]:
    """`compressed` - log10 SI-SNR (GTCRN, Rong et al. 2024), (B, T) each -> {"magnitude", "complex", "si-snr"}."""
    return compressed(estimate, clean, noisy) | {"si-snr": negative_si_snr(estimate, clean) / DB_PER_DECADE}
