"""A recurrent mask on bands with a deep filter on the low bins.

Paper: Schroeter, Escalante-B., Rosenkranz and Maier 2022, "DeepFilterNet: a low complexity speech enhancement framework
    for full-band audio based on deep filtering": gains on bands, and where harmonics stand a complex filter over
    neighbouring frames (Mack and Habets 2020). Features, dense layers and GRU as in `gru`, so that nearly all the
    work is a few large matrix products.
Parameters: 1,266,817
MACs a second: 85.4 M
Latency: 768 samples, 48 ms at 16 kHz, of which 16 ms are looked ahead; causal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from denoise_app.spectral.stft import Stft

from .layers import (
    BandFeatures,
    BandSplit,
    FeatureSums,
    SpectralModel,
    check_bounds,
    complex_product,
    phase_steps,
    run_gru,
    started,
)


@dataclass(frozen=True)
class BandDfConfig:
    """Sizes of the network.

    Attributes:
        window, hop: Samples of the STFT at 16 kHz.
        single_bins, wide_bands: Bands of one bin each from 0 Hz on (65 reach 2 kHz), and ERB-wide ones above.
        width: Units of the dense layers around the recurrence.
        hidden: Units of each GRU layer.
        layers: GRU layers.
        memory: Seconds over which the mean spectrum is followed.
        level_memory: Seconds over which the level is followed: short, so that a far voice after a near one is heard.
        filtered_bins: Bins from 0 Hz on that are filtered over frames (96 reach 3 kHz).
        past: Frames before the one in question that the filter sees.
        look_ahead: Frames after it, which the gains see too.
        floor: The least gain in use. While it learns, the gain goes down to 0.
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
    filtered_bins: int = 96
    past: int = 2
    look_ahead: int = 1
    floor: float = 0.1

    def __post_init__(self) -> None:
        check_bounds(
            self,
            single_bins=(1, self.window // 2),
            hidden=(8, 2048),
            filtered_bins=(1, self.window // 2),
            past=(0, 8),
            look_ahead=(0, 4),
        )


class Memory(NamedTuple):
    """What `BandDf` remembers between frames.

    The features' sums, the last spectra (B, bins, past + look_ahead, 2), and the GRU's state (layers, B, hidden).
    """

    sums: FeatureSums
    spectra: Tensor
    hidden: Tensor


class BandDf(SpectralModel):
    """Noisy spectra times a gain per band, plus a short complex filter over frames on the low bins.

    Scale: features are relative to the level of the last syllable, so a gain applied to the input comes out as the same
    gain, down to about -100 dBFS. Silence gives silence, since all that comes out is a sum of what came in.
    """

    def __init__(self, config: BandDfConfig) -> None:
        super().__init__(Stft(config.window, config.hop))
        self.config = config
        self.look_ahead = config.look_ahead
        self.taps = config.past + 1 + config.look_ahead
        bands = config.single_bins + config.wide_bands
        self.bands = BandSplit(self.stft, config.single_bins, config.wide_bands)
        self.features = BandFeatures(self.bands, config, self.stft.hop / self.stft.sample_rate)
        self.encode = nn.Sequential(nn.Linear(2 * bands + 2 * config.filtered_bins, config.width), nn.ReLU())
        self.recur = nn.GRU(config.width, config.hidden, config.layers, batch_first=True)
        self.decode = nn.Sequential(nn.Linear(config.hidden + config.width, config.width), nn.ReLU())
        self.to_gain = nn.Linear(config.width, bands)
        self.to_filter = nn.Linear(config.width, 2 * self.taps * config.filtered_bins)
        # at first a mask alone: the filter comes when it pays
        self.to_filter.weight = started(*self.to_filter.weight.shape, fill=lambda empty: empty.normal_(std=1e-3))
        nn.init.zeros_(self.to_filter.bias)

    def initial_frames(self, batch: int) -> Memory:
        like = next(self.parameters())
        return Memory(
            sums=self.features.initial(like, batch),
            spectra=like.new_zeros(batch, self.stft.bins, self.taps - 1, 2),
            hidden=like.new_zeros(self.config.layers, batch, self.config.hidden),
        )

    def enhance_parts(self, parts: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        count = parts.shape[2]
        known = torch.cat([memory.spectra, parts], dim=2)  # (B, bins, taps - 1 + n, 2)
        features, sums = self.features(parts, memory.sums)
        turns = phase_steps(known[:, : self.config.filtered_bins, self.taps - 2 :])
        encoded = self.encode(torch.cat([features, turns], dim=2))
        recurrent, hidden = run_gru(self.recur, encoded, memory.hidden)
        decoded = self.decode(torch.cat([recurrent, encoded], dim=2))
        gain = torch.sigmoid(self.to_gain(decoded))
        if not self.training:  # a loss on a floored gain would press all gains down to make up for the rest it leaves
            gain = self.config.floor + (1 - self.config.floor) * gain
        gain = self.bands.merge(gain).transpose(1, 2)  # (B, N, bands) -> (B, bins, N)
        masked = known[:, :, self.config.past : self.config.past + count] * gain[..., None]
        filtered = self._filter(known, self.to_filter(decoded), count)
        clean = torch.cat(
            [masked[:, : self.config.filtered_bins] + filtered, masked[:, self.config.filtered_bins :]], 1
        )
        return clean, Memory(sums, known[:, :, known.shape[2] - self.taps + 1 :], hidden)

    def _filter(self, known: Tensor, weights: Tensor, count: int) -> Tensor:
        """sum_k w_k X(n - past + k) on the low bins.

        (B, bins, taps - 1 + n, 2), (B, n, 2 * taps * low) -> (B, low, n, 2).
        """
        low = self.config.filtered_bins
        taps = weights.unflatten(2, (2, self.taps, low)).permute(0, 3, 4, 1, 2)  # (B, taps, low, n, 2), a view
        frames = torch.stack([known[:, :low, k : k + count] for k in range(self.taps)], dim=1)
        return complex_product(taps, frames).sum(1)
