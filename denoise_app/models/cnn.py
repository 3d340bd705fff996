"""Convolutions over the spectrogram, down and up again: the textbook denoiser.

Paper: Park and Lee 2017, "A fully convolutional neural network for speech enhancement" (R-CED): convolution, batch
    norm and ReLU over the noisy magnitudes, skips that add; pooling down and up between them as in Ronneberger,
    Fischer and Brox 2015, "U-Net: convolutional networks for biomedical image segmentation".
Parameters: 378,473
MACs a second: 185.9 M
Latency: 23,296 samples, 1.46 s at 16 kHz, most of it for the level; not causal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoise_app.denoiser import GRID
from denoise_app.spectral.stft import Stft

from .layers import FLOOR, check_bounds, level_around

POOLS = ((1, 2), (2, 2), (1, 2), (2, 2), (1, 2))
"""(frames, bins) that are pooled from scale to scale. Frequency comes first and most, which makes the net quick; no
more than 4 frames in all, so that chunks which begin at a multiple of GRID meet the pools of the whole."""

WIDTHS = (1, 2, 4, 8, 12, 16)  # maps on each scale, in those of the first: many where maps are small


@dataclass(frozen=True)
class CnnConfig:
    """Sizes of the network.

    Attributes:
        window, hop: Samples of the STFT at 16 kHz.
        channels: Maps on the first scale.
        scales: Poolings.
        level_seconds: How far to each side the level is taken from.
    """

    window: int = 512
    hop: int = 256
    channels: int = 8
    scales: int = 5
    level_seconds: float = 1.0

    def __post_init__(self) -> None:
        check_bounds(
            self,
            channels=(1, 64),
            scales=(1, len(POOLS)),
        )
        frames, bins = (math.prod(sizes) for sizes in zip(*POOLS[: self.scales], strict=True))
        if self.window % (2 * bins):
            raise ValueError(f"window must be a multiple of {2 * bins}, not {self.window}")
        if GRID % (frames * self.hop):
            raise ValueError(f"{frames} hops must fit into {GRID} samples a whole number of times, not of {self.hop}")


def block(inputs: int, outputs: int, bins: int = 3) -> nn.Sequential:
    """Convolution over 3 frames and some bins, batch norm, ReLU: (B, inputs, N, F) -> (B, outputs, N, F)."""
    convolution = nn.Conv2d(inputs, outputs, (3, bins), padding=(1, bins // 2), bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class Cnn(nn.Module):
    """The magnitudes of a stretch of known length around each frame to a gain in [0, 1]; the phase stays noisy.

    Scale: magnitudes are relative to the level of `level_seconds` to both sides, so a gain applied to the input comes
    out as the same gain, down to about -100 dBFS. Silence gives silence, since a gain multiplies the input.
    """

    causal: bool = False

    def __init__(self, config: CnnConfig) -> None:
        super().__init__()
        self.config = config
        self.stft = Stft(config.window, config.hop)
        self.level_frames = round(config.level_seconds * self.stft.sample_rate / config.hop)
        self.pools = POOLS[: config.scales]
        widths = [config.channels * width for width in WIDTHS[: config.scales + 1]]
        steps = list(pairwise(widths))
        self.first = block(1, widths[0], bins=5)
        self.down = nn.ModuleList(block(fine, coarse) for fine, coarse in steps)
        self.widen = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, pool, stride=pool)
            for (fine, coarse), pool in zip(steps, self.pools, strict=True)
        )
        self.up = nn.ModuleList(
            [nn.Conv2d(widths[0], 1, 3, padding=1), *(block(width, width) for width in widths[1:-1])]
        )

    @property
    def sample_rate(self) -> int:
        return self.stft.sample_rate

    @property
    def latency(self) -> int:
        return self.stft.window + self.reach * self.stft.hop

    @property
    def reach(self) -> int:
        """Frames to each side that a gain can depend on."""
        reach, step = 1, 1  # the first convolution's; frames from place to place on this scale
        for frames, _ in self.pools:
            reach += step + (frames - 1) * step  # the convolution on the way up, and the rest of what is pooled
            step *= frames
            reach += step  # the convolution on the way down
        return reach + self.level_frames

    def features(self, spectra: Tensor) -> Tensor:
        """Complex (B, bins, N) -> log of power over level (B, 1, N, bins - 1), without 0 Hz.

        It is 0 in silence, as is what the convolutions take to lie beyond the ends, and 1 at the level.
        """
        power = (spectra.real.square() + spectra.imag.square()).transpose(1, 2)  # (B, F, N) -> (B, N, F)
        relative = power[:, :, 1:] / level_around(power, self.level_frames)
        return torch.log1p(relative / FLOOR)[:, None] / math.log1p(1 / FLOOR)

    def gain(self, spectra: Tensor) -> Tensor:
        """Complex (B, bins, N) -> gain in [0, 1] (B, bins, N)."""
        count = spectra.shape[2]
        pooled = math.prod(frames for frames, _ in self.pools)
        maps = F.pad(self.features(spectra), (0, 0, 0, -count % pooled))
        maps = self.first(maps.to(memory_format=torch.channels_last))  # twice as quick on a CPU
        skips = []
        for pool, layer in zip(self.pools, self.down, strict=True):
            skips.append(maps)
            maps = layer(F.max_pool2d(maps, pool))
        for skip, widen, layer in zip(skips[::-1], self.widen[::-1], self.up[::-1], strict=True):
            maps = layer(skip + widen(maps))
        gain = torch.sigmoid(maps[:, 0, :count]).transpose(1, 2)  # (B, 1, N, F) -> (B, F, N)
        return torch.cat([gain[:, :1], gain], dim=1)  # 0 Hz as the bin above it

    def forward(self, noisy: Tensor) -> Tensor:
        """(B, T) -> (B, T)."""
        spectra = self.stft.analyse(noisy)
        return self.stft.synthesise(spectra * self.gain(spectra), noisy.shape[1])
