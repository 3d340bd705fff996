"""Subbands that share one small network, recurrent along frequency and along time: the smallest that is good.

Paper: Rong et al. 2024, "GTCRN: a speech enhancement model requiring ultralow computational resources": ERB bands,
    depthwise temporal convolutions, dual-path GRUs (within a frame across the bands, then causally along time), a
    complex ratio mask. A recurrent layer over all bands together after Valin 2018 (RNNoise) takes the place of the
    temporal recurrent attention, and one GRU the place of two of half the width: fewer and larger products.
Parameters: 57,078
MACs a second: 48.0 M
Latency: 512 samples, 32 ms at 16 kHz; causal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
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
    run_both_ways,
    run_gru,
)

FEATURES = 4  # power against the level, power against its own mean, cosine and sine of the phase's turn
STRIDE = 4  # bands of a subband
TAPS = 3  # frames and subbands that a convolution sees


@dataclass(frozen=True)
class LightCrnConfig:
    """Sizes of the network.

    Attributes:
        window, hop: Samples of the STFT at 16 kHz.
        single_bins, wide_bands: Bands of one bin each from 0 Hz on (64 reach 2 kHz), and ERB-wide ones above;
            together a multiple of 4.
        channels: Of every subband; even.
        blocks: Dual-path blocks.
        full_width: Units of the GRU over all subbands together.
        full_channels: Its input features of each.
        memory: Seconds over which the mean spectrum is followed.
        level_memory: Seconds over which the level is followed: short, so that a far voice after a near one is heard.
    """

    window: int = 512
    hop: int = 256
    single_bins: int = 64
    wide_bands: int = 56
    channels: int = 24
    blocks: int = 2
    full_width: int = 44
    full_channels: int = 4
    memory: float = 1.0
    level_memory: float = 0.2

    def __post_init__(self) -> None:
        check_bounds(
            self,
            single_bins=(1, self.window // 2),
            channels=(4, 256),
            blocks=(1, 8),
            full_width=(4, 1024),
            full_channels=(1, 64),
        )
        if self.channels % 2:
            raise ValueError(f"channels must be even, not {self.channels}")
        if (self.single_bins + self.wide_bands) % STRIDE:
            raise ValueError(f"single_bins + wide_bands must be a multiple of {STRIDE}")

    @property
    def subbands(self) -> int:
        return (self.single_bins + self.wide_bands) // STRIDE


class Memory(NamedTuple):
    """What `LightCrn` remembers between frames.

    Attributes:
        sums: Those of the features.
        spectrum: The last frame, (B, bins, 1, 2).
        recent: The last frames of features, (B, FEATURES, 2, bands).
        before, after: The last frames that the convolutions around the recurrence saw, (B, 2, S, C).
        full: State of the GRU over all subbands, (1, B, full_width).
        paths: States of the blocks' GRUs along time, (blocks, B * S, C).
    """

    sums: FeatureSums
    spectrum: Tensor
    recent: Tensor
    before: Tensor
    after: Tensor
    full: Tensor
    paths: Tensor


class TemporalConv(nn.Module):
    """x + Linear(ReLU(depthwise convolution over 3 frames and 3 subbands)), causal."""

    def __init__(self, subbands: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm([subbands, channels])
        self.depthwise = nn.Conv2d(channels, channels, TAPS, padding=(0, 1), groups=channels)
        self.pointwise = nn.Linear(channels, channels)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, S, C), the frames before (B, 2, S, C) -> (B, N, S, C), the last frames seen."""
        seen = torch.cat([past, self.norm(x)], dim=1)
        mixed = self.depthwise(seen.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.pointwise(F.relu(mixed)), seen[:, -(TAPS - 1) :]


class DualPath(nn.Module):
    """A GRU in both directions across the subbands of a frame, then a GRU along time in every subband alone."""

    def __init__(self, subbands: int, channels: int) -> None:
        super().__init__()
        self.across_norm = nn.LayerNorm([subbands, channels])
        self.upwards = nn.GRU(channels, channels // 2, batch_first=True)
        self.downwards = nn.GRU(channels, channels // 2, batch_first=True)
        self.across = nn.Linear(channels, channels)
        self.along_norm = nn.LayerNorm([subbands, channels])
        self.recur = nn.GRU(channels, channels, batch_first=True)
        self.along = nn.Linear(channels, channels)

    def forward(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, S, C), state (B * S, C) -> (B, N, S, C), the state after it."""
        batch = x.shape[0]
        rows = self.across_norm(x).flatten(0, 1)  # (B, N, S, C) -> (B * N, S, C)
        x = x + self.across(run_both_ways(self.upwards, self.downwards, rows)).view_as(x)
        rows = self.along_norm(x).transpose(1, 2).flatten(0, 1)  # (B, N, S, C) -> (B * S, N, C)
        rows, hidden = run_gru(self.recur, rows, hidden[None])
        return x + self.along(rows).unflatten(0, (batch, -1)).transpose(1, 2), hidden[0]


class FullBand(nn.Module):
    """A GRU over a few channels of all subbands together: what the frame is as a whole, and was lately."""

    def __init__(self, subbands: int, channels: int, width: int, squeezed: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm([subbands, channels])
        self.squeeze = nn.Linear(channels, squeezed)
        self.recur = nn.GRU(subbands * squeezed, width, batch_first=True)
        self.spread = nn.Linear(width, subbands * squeezed)
        self.expand = nn.Linear(squeezed, channels)
        self.squeezed = squeezed

    def forward(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, S, C), state (1, B, width) -> (B, N, S, C), the state after it."""
        whole, hidden = run_gru(self.recur, F.relu(self.squeeze(self.norm(x))).flatten(2), hidden)
        return x + self.expand(F.relu(self.spread(whole)).unflatten(2, (-1, self.squeezed))), hidden


class LightCrn(SpectralModel):
    """Noisy spectra to a complex mask per frame and bin, real and imaginary part in -1..1.

    Scale: features are relative to the level of the last syllable, so a gain applied to the input comes out as the same
    gain, down to about -100 dBFS. Silence gives silence, since a mask multiplies the input.
    """

    def __init__(self, config: LightCrnConfig) -> None:
        super().__init__(Stft(config.window, config.hop))
        self.config = config
        subbands, channels = config.subbands, config.channels
        self.bands = BandSplit(self.stft, config.single_bins, config.wide_bands)
        self.levels = BandFeatures(self.bands, config, self.stft.hop / self.stft.sample_rate)
        self.encode = nn.Conv2d(FEATURES, channels, (TAPS, 2 * STRIDE), (1, STRIDE), padding=(0, STRIDE // 2))
        self.before = TemporalConv(subbands, channels)
        self.full = FullBand(subbands, channels, config.full_width, config.full_channels)
        self.paths = nn.ModuleList(DualPath(subbands, channels) for _ in range(config.blocks))
        self.after = TemporalConv(subbands, channels)
        self.decode = nn.ConvTranspose2d(channels, 2, (1, 2 * STRIDE), (1, STRIDE), padding=(0, STRIDE // 2))
        assert self.decode.bias is not None
        with torch.no_grad():
            self.decode.bias.copy_(torch.tensor([1.0, 0.0]))  # at first most of the sound passes, as it is

    def initial_frames(self, batch: int) -> Memory:
        config, like = self.config, next(self.parameters())
        bands = config.single_bins + config.wide_bands
        past = like.new_zeros(batch, TAPS - 1, config.subbands, config.channels)
        return Memory(
            sums=self.levels.initial(like, batch),
            spectrum=like.new_zeros(batch, self.stft.bins, 1, 2),
            recent=like.new_zeros(batch, FEATURES, TAPS - 1, bands),
            before=past,
            after=past,
            full=like.new_zeros(1, batch, config.full_width),
            paths=like.new_zeros(config.blocks, batch * config.subbands, config.channels),
        )

    def features(self, parts: Tensor, memory: Memory) -> tuple[Tensor, FeatureSums]:
        """(B, bins, n, 2) -> features (B, FEATURES, n, bands) of unit size, and the sums after them."""
        levels, sums = self.levels(parts, memory.sums)
        turns = phase_steps(torch.cat([memory.spectrum, parts], dim=2))
        turns = self.bands.split(turns.unflatten(2, (2, -1)))  # bins of one tone agree, those of noise cancel
        features = torch.cat([levels.unflatten(2, (2, -1)), turns], dim=2)  # (B, N, FEATURES, bands)
        return features.transpose(1, 2), sums

    def mask(self, parts: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """(B, bins, n, 2) -> complex mask (B, bins, n, 2), and the memory after it."""
        features, sums = self.features(parts, memory)
        recent = torch.cat([memory.recent, features], dim=2)
        x = F.relu(self.encode(recent)).permute(0, 2, 3, 1)  # (B, C, N, S) -> (B, N, S, C)
        x, before = self.before(x, memory.before)
        x, full = self.full(x, memory.full)
        paths = []
        for block, hidden in zip(self.paths, memory.paths, strict=True):
            x, hidden = block(x, hidden)
            paths.append(hidden)
        x, after = self.after(x, memory.after)
        mask = self.bands.merge(torch.tanh(self.decode(x.permute(0, 3, 1, 2))))  # (B, 2, N, bands) -> (B, 2, N, bins)
        mask = mask.permute(0, 3, 2, 1)
        recent, spectrum = recent[:, :, -(TAPS - 1) :], parts[:, :, -1:]
        return mask, Memory(sums, spectrum, recent, before, after, full, torch.stack(paths))

    def enhance_parts(self, parts: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        mask, memory = self.mask(parts, memory)
        return complex_product(parts, mask), memory
