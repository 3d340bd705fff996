"""A recurrent magnitude mask, small and quick.

Paper: Braun and Tashev 2020, "Data augmentation and loss normalization for deep noise suppression" (NSNet2),
    after Valin 2018 (RNNoise): features of the noisy magnitude -> dense -> GRU layers -> dense -> a gain per bin.
Parameters: 987,393
MACs a second: 61.6 M
Latency: 512 samples, 32 ms at 16 kHz; causal.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from denoise_app.spectral.stft import SpectralDenoiser, Stft


@dataclass(frozen=True)
class GruConfig:
    """Sizes of the network.

    Attributes:
        window, hop: Samples of the STFT at 16 kHz.
        width: Units of the dense layers around the recurrence.
        hidden: Units of each GRU layer.
        layers: GRU layers.
        compression: Exponent of the magnitude features; a power, unlike a logarithm, is finite at exact zeros.
    """

    window: int = 512
    hop: int = 256
    width: int = 256
    hidden: int = 256
    layers: int = 2
    compression: float = 0.3

    def __post_init__(self) -> None:
        bounds = {"window": (64, 4096), "hop": (16, 2048), "width": (8, 2048), "hidden": (8, 2048), "layers": (1, 8)}
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must lie in {low}..{high}, not {getattr(self, name)}")
        if not 0.1 <= self.compression <= 1.0:
            raise ValueError(f"compression must lie in 0.1..1.0, not {self.compression}")


class Gru(SpectralDenoiser):
    """Noisy magnitudes to a gain in [0, 1] per frame and bin; the phase stays noisy.

    Scale: the features are not normalised by level, so the gain depends on it mildly; training covers
    -45 to -5 dBFS. Silence gives silence, since a gain multiplies the input.
    """

    def __init__(self, config: GruConfig) -> None:
        super().__init__(Stft(config.window, config.hop))
        self.config = config
        bins = self.stft.bins
        self.encode = nn.Sequential(nn.Linear(bins, config.width), nn.ReLU())
        self.recur = nn.GRU(config.width, config.hidden, config.layers, batch_first=True)
        self.decode = nn.Sequential(nn.Linear(config.hidden, config.width), nn.ReLU(), nn.Linear(config.width, bins))

    def initial_frames(self, batch: int) -> Tensor:
        """Hidden state (layers, B, hidden) of zeros."""
        return next(self.parameters()).new_zeros(self.config.layers, batch, self.config.hidden)

    def gain(self, spectra: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Complex (B, bins, n), state (layers, B, hidden) -> gain in [0, 1] (B, bins, n), the state after."""
        power = spectra.real.square() + spectra.imag.square()
        features = (power + 1e-12).pow(self.config.compression / 2)  # its gradient stays finite at zero
        hidden, memory = self.recur(self.encode(features.transpose(1, 2)), memory)  # (B, F, N) -> (B, N, H)
        return torch.sigmoid(self.decode(hidden)).transpose(1, 2), memory

    def enhance(self, spectra: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        gain, memory = self.gain(spectra, memory)
        return spectra * gain, memory
