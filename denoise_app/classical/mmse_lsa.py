"""The estimator of least mean square error of the log-spectral amplitude.

Paper: Ephraim and Malah 1985, "Speech enhancement using a minimum mean-square error log-spectral amplitude estimator";
    xi and v after Ephraim and Malah 1984; noise after Gerkmann and Hendriks 2012.
Latency: 512 samples, 32 ms at 16 kHz; causal.
"""

from __future__ import annotations

import torch
from scipy.special import exp1
from torch import Tensor

from denoise_app.spectral.stft import Stft

from .suppressor import DecisionDirected

OCTAVES = (-20.0, 5.0)  # log2 of v: below, the gain is at its bounds anyway; above, exp(E1(v) / 2) is 1
STEPS = 640  # per octave: half a step is an error of 0.0024 dB at most


class MmseLsa(DecisionDirected):
    """G = xi / (1 + xi) exp(E1(v) / 2) with v = xi gamma / (1 + xi).

    The exponential integral costs ten times all else together, so exp(E1(v) / 2) is read from a table over log2 v.

    Args: as for `DecisionDirected`.
    """

    def __init__(
        self,
        smoothing: float = 0.92,
        least_prior_db: float = -15.0,
        floor_db: float = -20.0,
        stft: Stft | None = None,
    ) -> None:
        super().__init__(smoothing, least_prior_db, floor_db, stft)
        low, high = OCTAVES
        v = 2.0 ** torch.linspace(low, high, round((high - low) * STEPS) + 1, dtype=torch.float64)
        self.table = torch.exp(torch.from_numpy(exp1(v.numpy())) / 2).float()

    def rule(self, prior: Tensor, snr: Tensor) -> Tensor:
        wiener = prior / (1 + prior)
        v = wiener * snr  # Ephraim and Malah 1984, (8)
        place = (v.log2() - OCTAVES[0]).mul_(STEPS).clamp_(0, len(self.table) - 1).round_().long()
        return wiener * self.table[place]  # (20)
