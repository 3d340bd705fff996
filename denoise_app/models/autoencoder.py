"""A deep denoising autoencoder: a few frames of magnitudes through a bottleneck, out comes the clean one.

Paper: Lu, Tsao, Matsuda and Hori 2013, "Speech enhancement based on deep denoising autoencoder": stacked frames of the
    noisy spectrum -> dense layers, narrow in the middle -> the clean spectrum, the phase stays noisy. The mean of the
    last second stands beside them, so that the net knows the noise (Xu et al. 2015, noise-aware training).
Parameters: 1,513,921
MACs a second: 98.9 M
Latency: 1,024 samples, 64 ms at 16 kHz, of which 32 ms are looked ahead; causal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from denoise_app.spectral.stft import Stft

from .layers import SILENCE, RunningMean, SpectralModel, check_bounds, power_of

COMPRESSION = 0.3  # of magnitudes: about how loud they are heard; exact zeros stay 0
SHARPNESS = 8  # of the bend where what is reconstructed meets what was heard


@dataclass(frozen=True)
class AutoencoderConfig:
    """Sizes of the network.

    Attributes:
        window, hop: Samples of the STFT at 16 kHz.
        past: Frames before the one in question that the net sees.
        look_ahead: Frames after it.
        hidden: Units of the dense layers on both sides of the bottleneck.
        code: Units of the bottleneck.
        memory: Seconds over which the level and the mean spectrum are followed.
    """

    window: int = 512
    hop: int = 256
    past: int = 5
    look_ahead: int = 2
    hidden: int = 512
    code: int = 192
    memory: float = 1.0

    def __post_init__(self) -> None:
        check_bounds(
            self,
            past=(0, 16),
            look_ahead=(0, 8),
            hidden=(8, 4096),
            code=(4, 2048),
        )


class Memory(NamedTuple):
    """What `Autoencoder` remembers between frames.

    The sums of the running means of level and spectrum, the last compressed magnitudes (B, past + look_ahead, bins),
    and the last spectra (B, bins, look_ahead, 2).
    """

    level: Tensor
    spectrum: Tensor
    magnitudes: Tensor
    spectra: Tensor


class Autoencoder(SpectralModel):
    """Compressed magnitudes of some frames to the clean ones of one of them, never above the input there.

    Scale: magnitudes are relative to the level of the last second, so a gain applied to the input comes out as the same
    gain, down to about -100 dBFS. Silence gives silence, since it bounds what comes out.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__(Stft(config.window, config.hop))
        self.config = config
        self.look_ahead = config.look_ahead
        self.stacked = config.past + 1 + config.look_ahead
        self.mean = RunningMean(config.memory, self.stft.hop / self.stft.sample_rate)
        bins = self.stft.bins
        self.encode = nn.Sequential(
            nn.Linear((self.stacked + 1) * bins, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, config.code),
            nn.ReLU(),
        )
        self.decode = nn.Sequential(
            nn.Linear(config.code, config.hidden), nn.ReLU(), nn.Linear(config.hidden, bins), nn.Softplus()
        )

    def initial_frames(self, batch: int) -> Memory:
        like, bins = next(self.parameters()), self.stft.bins
        return Memory(
            level=self.mean.initial(like, batch, 1),
            spectrum=self.mean.initial(like, batch, bins),
            magnitudes=like.new_zeros(batch, self.stacked - 1, bins),
            spectra=like.new_zeros(batch, bins, self.look_ahead, 2),
        )

    def enhance_parts(self, parts: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        count = parts.shape[2]
        power = power_of(parts).transpose(1, 2)  # (B, F, N) -> (B, N, F)
        level, level_sums = self.mean(power.mean(2, keepdim=True), memory.level)
        magnitudes = (power / (level + SILENCE)) ** (COMPRESSION / 2)
        mean, spectrum_sums = self.mean(magnitudes, memory.spectrum)
        known = torch.cat([memory.magnitudes, magnitudes], dim=1)  # (B, stacked - 1 + n, bins)
        stack = [known[:, k : k + count] for k in range(self.stacked)]
        clean = self.decode(self.encode(torch.cat([*stack, mean], dim=2)))  # (B, n, bins)
        gain = bounded(clean, stack[self.config.past]) ** (1 / COMPRESSION)
        heard = torch.cat([memory.spectra, parts], dim=2)  # (B, bins, look_ahead + n, 2)
        return heard[:, :, :count] * gain.transpose(1, 2)[..., None], Memory(
            level_sums, spectrum_sums, known[:, count:], heard[:, :, count:]
        )


def bounded(clean: Tensor, noisy: Tensor) -> Tensor:
    """The ratio of two magnitudes >= 0, bent so that it stays below 1; it still slopes where clean is the larger one.

    >>> bounded(torch.tensor([0.0, 0.5, 1.0, 2.0, 1.0]), torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0]))
    tensor([0.0000, 0.4993, 0.9165, 0.9995, 1.0000])
    """
    ratio = (clean / (noisy + 1e-3)).clamp_max(100.0)
    return ratio / (1 + ratio**SHARPNESS) ** (1 / SHARPNESS)
