"""Spectral subtraction with over-subtraction and a spectral floor.

Paper: Berouti, Schwartz and Makhoul 1979, "Enhancement of speech corrupted by acoustic noise";
    noise after Gerkmann and Hendriks 2012.
Latency: 512 samples, 32 ms at 16 kHz; causal.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from denoise_app.spectral.stft import Stft

from .suppressor import Suppressor, posterior_snr


class SpectralSubtraction(Suppressor):
    """|S|^2 = |Y|^2 - alpha N where that leaves more than beta N, else beta N.

    alpha is 1 in frames of 20 dB SNR and more and grows by a straight line down to -5 dB: where there is much noise,
    more than its mean is subtracted, so that its peaks go too.

    Args:
        over: alpha at 0 dB, the paper's alpha_0; 3 to 6 there.
        remain: beta, the noise that is left to mask the tones of what sticks out, power ratio, 0.005 to 0.1.
        floor_db, stft: As for `Suppressor`.

    Raises:
        ValueError: over below 1, remain outside [0, 1], or a floor above 0 dB.
    """

    def __init__(
        self, over: float = 4.0, remain: float = 0.05, floor_db: float = -20.0, stft: Stft | None = None
    ) -> None:
        super().__init__(floor_db, stft)
        if over < 1 or not 0 <= remain <= 1:
            raise ValueError(f"over is at least 1 and remain lies in 0..1, not {over} and {remain}")
        self.over = over
        self.remain = remain

    def gain(self, power: Tensor, noise: Tensor, memory: Any) -> tuple[Tensor, Any]:
        snr = posterior_snr(power.sum(2, keepdim=True), noise.sum(2, keepdim=True))  # of the frame, (n, B, 1)
        slope = (self.over - 1) / 20  # 3 / 20 in the paper: alpha_0 at 0 dB, 1 from 20 dB on
        alpha = (self.over - slope * 10 * snr.log10()).clamp(1, self.over + 5 * slope)  # (5): a straight line
        bare = posterior_snr(power, noise).clamp_min(1e-9).reciprocal()  # N / |Y|^2
        return (1 - alpha * bare).maximum(self.remain * bare).sqrt(), memory  # (4)
