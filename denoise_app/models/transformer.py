"""Attention across frequency and across time by turns, on a coarse grid; a gain and a turn of the phase come out.

Paper: Lin, Wang, Chen and Xu 2024, "MUSE: flexible voiceprint receptive fields and multi-path fusion enhanced Taylor
    transformer for U-Net-based speech enhancement"; compressed spectrum in, magnitude mask and phase out after Lu, Ai
    and Ling 2023 (MP-SENet); attention along one axis at a time after Cao, Abdulatif and Yang 2022 (CMGAN). Attention
    along time is local (Beltagy, Peters and Cohan 2020, "Longformer"), so that cost and memory grow with the length
    and not with its square.
Parameters: 758,787
MACs a second: 837.1 M
Latency: 44,800 samples, 2.80 s at 16 kHz, most of it for attention; not causal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoise_app.spectral.stft import Stft

from .layers import FLOOR, check_bounds, level_around, started

STEP = 2  # frames of a token
BINS = 8  # of a token
PIECE = 2**17  # numbers, half a megabyte
COMPRESSION = 0.3  # power of magnitudes, as in MP-SENet


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of the network.

    Attributes:
        window, hop: Samples of the STFT at 16 kHz.
        channels: Of each token; a multiple of the heads and of 2.
        heads: Of each attention.
        blocks: Of attention across frequency, attention across time, and a dense layer.
        reach: Tokens to each side in one attention along time; 16 last half a second.
        level_seconds: How far to each side the level is taken from.
    """

    window: int = 512
    hop: int = 256
    channels: int = 96
    heads: int = 4
    blocks: int = 4
    reach: int = 16
    level_seconds: float = 0.5

    def __post_init__(self) -> None:
        check_bounds(
            self,
            channels=(4, 512),
            heads=(1, 32),
            blocks=(1, 16),
            reach=(1, 512),
        )
        if self.channels % self.heads or self.channels % 2:
            raise ValueError(f"channels must be a multiple of 2 and of the heads, not {self.channels}")
        if self.window % (2 * BINS):
            raise ValueError(f"window must be a multiple of {2 * BINS}, not {self.window}")


class Attention(nn.Module):
    """x + multi-head attention (Vaswani et al. 2017) over the rows of the normalised x.

    Args:
        channels, heads: Sizes.
        reach: Places to each side that are attended to; None for all. Beyond the ends lie zeros, as for a convolution.
    """

    def __init__(self, channels: int, heads: int, reach: int | None = None) -> None:
        super().__init__()
        self.heads, self.reach = heads, reach
        self.norm = nn.LayerNorm(channels)
        self.ask = nn.Linear(channels, 3 * channels)
        self.answer = nn.Linear(channels, channels)

    def forward(self, rows: Tensor) -> Tensor:
        """(R, L, C) -> (R, L, C)."""
        asked = self.ask(self.norm(rows)).unflatten(2, (3, self.heads, -1))
        query, key, value = asked.permute(2, 0, 3, 1, 4)  # (R, L, 3, H, D) -> (3, R, H, L, D)
        if self.reach is None:
            heard = F.scaled_dot_product_attention(query, key, value)
        else:
            heard = near(query, key, value, self.reach)
        return rows + self.answer(heard.transpose(1, 2).flatten(2))


def near(query: Tensor, key: Tensor, value: Tensor, reach: int) -> Tensor:
    """Attention of each place over those within `reach` of it: (R, H, L, D) each -> (R, H, L, D).

    The places are cut into blocks as long as the reach, and each block is compared with itself and its neighbours.
    """
    length = query.shape[2]
    rest = -length % reach
    query = F.pad(query, (0, 0, 0, rest)).unflatten(2, (-1, reach))  # (R, H, K, reach, D)
    count = query.shape[2]
    padded = F.pad(torch.stack([key, value]), (0, 0, reach, reach + rest)).unflatten(3, (-1, reach))
    around = torch.cat([padded[:, :, :, k : k + count] for k in range(3)], dim=4)  # (2, R, H, K, 3 * reach, D)
    places = torch.arange(3 * reach, device=query.device)
    close = (places - places[reach : 2 * reach, None]).abs() <= reach
    key, value = around.flatten(2, 3)
    heard = F.scaled_dot_product_attention(query.flatten(1, 2), key, value, attn_mask=close)
    return heard.unflatten(1, (-1, count)).flatten(2, 3)[:, :, :length]


def in_pieces(layer: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """What a layer makes of rows that know nothing of each other, (R, L, C) -> (R, L, C), a few of them at a time.

    In use on a CPU what lies between then fits its cache: a quarter less time, less than half of the memory.
    """
    if torch.is_grad_enabled() or rows.device.type != "cpu":
        return layer(rows)
    few = max(1, PIECE // rows[0].numel())
    return torch.cat([layer(part) for part in rows.split(few)])


class Block(nn.Module):
    """A token attends to its neighbours, then its frame, then its frequency, then itself."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        channels = config.channels
        self.place = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)  # attention knows no neighbours
        self.across = Attention(channels, config.heads)
        self.along = Attention(channels, config.heads, config.reach)
        self.dense = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, 4 * channels), nn.ReLU(), nn.Linear(4 * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, S, C) -> (B, N, S, C)."""
        batch = x.shape[0]
        x = x + self.place(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = in_pieces(self.across, x.flatten(0, 1)).unflatten(0, (batch, -1))
        return in_pieces(self._between, x.transpose(1, 2).flatten(0, 1)).unflatten(0, (batch, -1)).transpose(1, 2)

    def _between(self, rows: Tensor) -> Tensor:
        """Frequencies along time, (B * S, N, C) -> (B * S, N, C)."""
        rows = self.along(rows)
        return rows + self.dense(rows)


class Transformer(nn.Module):
    """Noisy spectra to a gain in 0..2 and a turn of the phase, per frame and bin.

    Scale: magnitudes are relative to the level of `level_seconds` to both sides, so a gain applied to the input comes
    out as the same gain, down to about -100 dBFS. Silence gives silence, since a mask multiplies the input.
    """

    causal: bool = False

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.stft = Stft(config.window, config.hop)
        self.level_frames = round(config.level_seconds * self.stft.sample_rate / config.hop)
        channels = config.channels
        self.first = nn.Conv2d(3, channels // 2, (3, 8), stride=(1, 4), padding=(1, 2))
        self.encode = nn.Conv2d(channels // 2, channels, 4, stride=2, padding=1)
        self.pitch = started(self.stft.window // 2 // BINS, channels, fill=lambda empty: 0.02 * empty.normal_())
        self.blocks = nn.Sequential(*(Block(config) for _ in range(config.blocks)))
        self.norm = nn.LayerNorm(channels)
        self.decode = nn.ConvTranspose2d(channels, channels // 2, 4, stride=2, padding=1)
        self.last = nn.ConvTranspose2d(channels // 2, 3, (3, 8), stride=(1, 4), padding=(1, 2))

    @property
    def sample_rate(self) -> int:
        return self.stft.sample_rate

    @property
    def reach(self) -> int:
        """Frames to each side that a mask can depend on."""
        tokens = self.config.blocks * (1 + self.config.reach)
        convolutions = 2 * 1 + 2 * STEP  # of one frame to each side, and of a token to each side
        return STEP * tokens + convolutions + self.level_frames

    @property
    def latency(self) -> int:
        return self.stft.window + self.reach * self.stft.hop

    def features(self, spectra: Tensor) -> Tensor:
        """Complex (B, F, N) -> magnitude, real and imaginary part against the level to the power 0.3, (B, 3, N, F)."""
        real, imag = spectra.real.transpose(1, 2), spectra.imag.transpose(1, 2)  # (B, F, N) -> (B, N, F)
        power = real.square() + imag.square()
        level = level_around(power, self.level_frames)
        relative = power / level
        shrink = (relative + FLOOR).pow((COMPRESSION - 1) / 2)  # m^0.3 / m
        size = shrink * relative.sqrt()
        shrink = shrink * level.rsqrt()
        return torch.stack([size, real * shrink, imag * shrink], dim=1)

    def mask(self, spectra: Tensor) -> Tensor:
        """Complex (B, bins, N) -> complex mask (B, bins, N), its magnitude in 0..2."""
        count = spectra.shape[2]
        features = F.pad(self.features(spectra[:, 1:]), (0, 0, 0, -count % STEP))
        fine = F.relu(self.first(features))  # (B, C / 2, N, 2 * S)
        x = self.encode(fine).permute(0, 2, 3, 1) + self.pitch  # (B, N / 2, S, C)
        x = self.norm(self.blocks(x)).permute(0, 3, 1, 2)
        size, real, imag = self.last(F.relu(self.decode(x) + fine))[:, :, :count].transpose(2, 3).unbind(1)
        real = 1 + real  # at first the phase stays as it is
        gain = 2 * torch.sigmoid(size) * (real.square() + imag.square() + FLOOR).rsqrt()
        mask = torch.complex(gain * real, gain * imag)
        return torch.cat([mask[:, :1], mask], dim=1)  # 0 Hz as the bin above it

    def forward(self, noisy: Tensor) -> Tensor:
        """(B, T) -> (B, T)."""
        spectra = self.stft.analyse(noisy)
        return self.stft.synthesise(spectra * self.mask(spectra), noisy.shape[1])
