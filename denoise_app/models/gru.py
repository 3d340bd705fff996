"""A recurrent magnitude mask on bands, small and quick.

Paper: Braun and Tashev 2020, "Data augmentation and loss normalization for deep noise suppression" (NSNet2): features
    of the noisy magnitude -> dense -> GRU layers -> dense -> a gain. Bands in place of bins after Valin 2018 (RNNoise);
    means of the features over the last second taken away, as in DeepFilterNet (Schroeter et al. 2022).
Parameters: 1,020,289
MACs a second: 69.3 M
Latency: 512 samples, 32 ms at 16 kHz; causal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from denoise_app.spectral.stft import Stft

from .layers import BandFeatures, BandSplit, FeatureSums, SpectralModel, check_bounds, run_gru


@dataclass(frozen=True)
class GruConfig:
    """Sizes of the network.

    Attributes:
        window, hop: Samples of the STFT at 16 kHz.
        single_bins, wide_bands: Bands of one bin each from 0 Hz on (65 reach 2 kHz), and ERB-wide ones above.
        width: Units of the dense layers around the recurrence.
        hidden: Units of each GRU layer.
        layers: GRU layers.
        memory: Seconds over which the mean spectrum is followed.
        level_memory: Seconds over which the level is followed: short, so that a far voice after a near one is heard.
        floor: The least gain in use: 0.1 takes away 20 dB at most. While it learns, the gain goes down to 0.
    """

    window: int = 512
    hop: int = 256
    single_bins: int = 65
    wide_bands: int = 64
    width: int = 256
    hidden: int = 256
    layers: int = 2
    memory: float = 1.0
    level_memory: float = 0.2
    floor: float = 0.1

    def __post_init__(self) -> None:
        check_bounds(
            self,
            single_bins=(1, self.window // 2),
            hidden=(8, 2048),
        )


class Memory(NamedTuple):
    """What `Gru` remembers between frames: the features' sums, and the GRU's state (layers, B, hidden)."""

    sums: FeatureSums
    hidden: Tensor


class Gru(SpectralModel):
    """Noisy magnitudes to a gain in [floor, 1] per frame and bin; the phase stays noisy.

    Scale: features are relative to the level of the last syllable, so a gain applied to the input comes out as the same
    gain, down to about -100 dBFS. Silence gives silence, since a gain multiplies the input.
    """

    def __init__(self, config: GruConfig) -> None:
        super().__init__(Stft(config.window, config.hop))
        self.config = config
        bands = config.single_bins + config.wide_bands
        self.bands = BandSplit(self.stft, config.single_bins, config.wide_bands)
        self.features = BandFeatures(self.bands, config, self.stft.hop / self.stft.sample_rate)
        self.encode = nn.Sequential(nn.Linear(2 * bands, config.width), nn.ReLU())
        self.recur = nn.GRU(config.width, config.hidden, config.layers, batch_first=True)
        self.decode = nn.Sequential(
            nn.Linear(config.hidden + config.width, config.width), nn.ReLU(), nn.Linear(config.width, bands)
        )

    def initial_frames(self, batch: int) -> Memory:
        like = next(self.parameters())
        hidden = like.new_zeros(self.config.layers, batch, self.config.hidden)
        return Memory(self.features.initial(like, batch), hidden)

    def gain(self, parts: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """(B, bins, n, 2) -> gain in [floor, 1] (B, bins, n), and the memory after it."""
        features, sums = self.features(parts, memory.sums)
        encoded = self.encode(features)
        recurrent, hidden = run_gru(self.recur, encoded, memory.hidden)
        gain = torch.sigmoid(self.decode(torch.cat([recurrent, encoded], dim=2)))
        if not self.training:  # a loss on a floored gain would press all gains down to make up for the rest it leaves
            gain = self.config.floor + (1 - self.config.floor) * gain
        return self.bands.merge(gain).transpose(1, 2), Memory(sums, hidden)

    def enhance_parts(self, parts: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        gain, memory = self.gain(parts, memory)
        return parts * gain[..., None], memory
