"""Losses on samples."""

from __future__ import annotations

from torch import Tensor

from denoise_app.metrics.signal import si_sdr


def mse(estimate: Tensor, clean: Tensor, noisy: Tensor) -> dict[str, Tensor]:
    """Mean squared error of the waveform, mean (ŝ - s)^2, the objective of least squares (Gauss 1809).

    (B, T) each -> {"mse"}; 0 is perfect, unbounded above.
    """
    return {"mse": (estimate - clean).square().mean()}


def negative_si_snr(estimate: Tensor, clean: Tensor) -> Tensor:
    """Minus the scale-invariant SNR in dB (Luo and Mesgarani 2019, eq. 13 to 15), mean over the batch.

    10 log10 (|a s|^2 / |ŝ - a s|^2) with a = <ŝ, s> / |s|^2; the mean of neither is removed.

    An example without speech has no such ratio: it counts as 0, so that it pulls neither way. The ratio is bounded
    at 40 dB, beyond which errors are inaudible and the gradient would be noise.
    """
    has_speech = clean.square().mean(1) > 1e-10
    ratio = si_sdr(estimate, clean).clamp(-60, 40).where(has_speech, clean.new_zeros(()))
    return -ratio.sum() / max(len(clean), 1)


def si_snr(estimate: Tensor, clean: Tensor, noisy: Tensor) -> dict[str, Tensor]:
    """`negative_si_snr` as a loss of one part, (B, T) each -> {"si-snr"} in dB, from -40 to 60."""
    return {"si-snr": negative_si_snr(estimate, clean)}
