"""Complex U-nets over all bins, recurrent along frequency on every level and along time at the bottom, in two rounds.

Paper: Zhao, Ma, Watcharasupat and Gan 2022, "FRCRN: boosting feature representation using frequency recurrence for
    monaural speech enhancement": complex convolutions, after each a complex feedforward sequential memory network
    (FSMN; Zhang et al. 2018) from the lowest frequency to the highest, two more along time between encoder and decoder,
    attention on the skips, a complex mask from each of two U-nets. Kernels and strides follow the authors' release.
    Ours is causal throughout: kernels see the past alone, every frame is normalised by itself, attention follows the
    means of the last second. Spectra are compressed and relative to the running level.
Parameters: 283,240
MACs a second: 649.0 M
Latency: 512 samples, 32 ms at 16 kHz; causal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoise_app.spectral.stft import Stft

from .layers import SILENCE, RunningMean, SpectralModel, check_bounds, complex_product, power_of, started

KERNEL = 5  # bins that a convolution sees, in two frames
POWER = 0.3  # to which magnitudes are raised, so that weak bins count
QUIET = 1e-5  # of the mean power: bins below it, and those that hold exact zeros, all look alike
PIECE = 64  # frames of one matrix product of a memory, so that its square stays small


@dataclass(frozen=True)
class FrcrnConfig:
    """Sizes of the network; channels and units are complex.

    Attributes:
        window, hop: Samples of the STFT at 16 kHz.
        rounds: U-nets; each adds a mask to those before it.
        levels: Convolutions down, and as many up.
        stride: Of the convolutions along frequency: 2, or 1 to keep all bins on every level.
        channels: Of every level.
        hidden: Units of each recurrence along frequency.
        reach: Bins of its level that such a unit remembers, its own and those below.
        bottom: Units of each of the two recurrences along time.
        frames: Frames that such a unit remembers.
        attention: Units between the means of all levels and the gates on their skips.
        memory: Seconds over which the level and those means are followed.
    """

    window: int = 512
    hop: int = 256
    rounds: int = 2
    levels: int = 4
    stride: int = 2
    channels: int = 16
    hidden: int = 8
    reach: int = 20
    bottom: int = 32
    frames: int = 32
    attention: int = 8
    memory: float = 1.0

    def __post_init__(self) -> None:
        check_bounds(
            self,
            rounds=(1, 4),
            levels=(2, 10),
            stride=(1, 2),
            channels=(1, 512),
            hidden=(1, 512),
            reach=(1, 512),
            bottom=(1, 1024),
            frames=(1, 512),
            attention=(1, 512),
        )
        if self.bins[-2] < 2:
            raise ValueError(f"{self.levels} levels are too many for {self.bins[0]} bins")

    @property
    def bins(self) -> list[int]:
        """Frequencies on each level, from the spectrum to the bottom, (levels + 1,)."""
        bins = [self.window // 2 + 1]
        for _ in range(self.levels):
            bins.append((bins[-1] - min(KERNEL, bins[-1])) // self.stride + 1)
        return bins


PUBLISHED = FrcrnConfig(window=640, hop=320, levels=7, channels=128, hidden=128, bottom=128, frames=20, attention=64)
"""The sizes of the authors' release (FRCRN_SE_16K in ClearerVoice-Studio), built our way: 14,699,784 parameters."""


def as_real(weight: Tensor, fan_in: int, fan_out: int) -> Tensor:
    """Complex products as one real product: (2, *shape) -> `shape` with its dimensions `fan_in`, `fan_out` doubled.

    A row [re, im] times it is [re R - im I, re I + im R], R and I being the two parts of the weight.
    """
    re, im = weight.unbind(0)
    return torch.cat([torch.cat([re, im], dim=fan_out), torch.cat([-im, re], dim=fan_out)], dim=fan_in)


def drawn(*shape: int, fan_in: int) -> nn.Parameter:
    """Real and imaginary part (2, *shape), uniform; `fan_in` complex numbers meet in each sum, as in torch's layers."""
    return started(2, *shape, fill=lambda empty: empty.uniform_(-1, 1) / math.sqrt(2 * fan_in))


class ComplexLinear(nn.Module):
    """(..., 2 in) -> (..., 2 out). The real parts stand before the imaginary ones, here and in all that follows."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.weight = drawn(fan_in, fan_out, fan_in=fan_in)
        self.bias = nn.Parameter(torch.zeros(2 * fan_out))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, as_real(self.weight, 0, 1).t(), self.bias)


class ComplexConv(nn.Module):
    """A convolution over frequency and over this frame and the one before it.

    Args:
        sources: Groups of `fan_in` channels that lie side by side in the input.
        phases: Frequencies made of each place: 2 for what a transposed convolution of stride 2 does.
    """

    def __init__(
        self, sources: int, fan_in: int, fan_out: int, kernel: int, stride: int = 1, phases: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        self.phases, self.stride, self.padding = phases, (1, stride), (0, padding)
        self.weight = drawn(sources, fan_in, phases, fan_out, 2, kernel, fan_in=sources * fan_in * 2 * kernel)
        self.bias = nn.Parameter(torch.zeros(phases * 2 * fan_out))

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, F, sources 2 in), the frame before (B, 1, F, sources 2 in) -> (B, N, F', 2 out), the last frame."""
        seen = torch.cat([past, x], dim=1)
        weight = as_real(self.weight, 1, 3).flatten(2, 3).flatten(0, 1).transpose(0, 1)
        out = F.conv2d(seen.permute(0, 3, 1, 2), weight, self.bias, self.stride, self.padding)
        out = out.permute(0, 2, 3, 1)  # (B, C, N, F) -> (B, N, F, C)
        bins, channels = out.shape[2] * self.phases, out.shape[3] // self.phases
        return out.reshape(*x.shape[:2], bins, channels), seen[:, -1:]


class Fsmn(nn.Module):
    """x + U (p + filtered p), p = ReLU(W x): a complex feedforward sequential memory network along one axis.

    W and U are complex; the filter has `reach` real taps for each real and each imaginary unit, as in the release.
    It is computed as a product with a banded matrix: on a CPU far quicker than a convolution by channel, which a graph
    of it has instead, since the matrix would stand in its file.
    """

    def __init__(self, width: int, hidden: int, reach: int) -> None:
        super().__init__()
        self.inward = ComplexLinear(width, hidden)
        self.taps = started(2 * hidden, reach, fill=lambda empty: empty.uniform_(-1, 1) / math.sqrt(reach))
        self.outward = ComplexLinear(hidden, width)

    def filtered(self, seen: Tensor, past: int) -> Tensor:
        """(..., past + n, units) -> what the filter gives at the n places after the past, (..., n, units)."""
        if torch.jit.is_tracing():
            rows = seen if seen.dim() == 4 else seen[:, None]
            padded = F.pad(rows.permute(0, 3, 1, 2), (self.taps.shape[1] - 1, 0))
            given = F.conv2d(padded, self.taps.flip(1)[:, None, None], groups=self.taps.shape[0])
            given = given[..., past:].permute(0, 2, 3, 1)
            return given if seen.dim() == 4 else given[:, 0]
        count = seen.shape[-2] - past
        by_lag = F.pad(self.taps, (count - 1, seen.shape[-2] - self.taps.shape[1]))  # zero outside the reach
        band = by_lag.unfold(1, count, 1).flip(1)  # (units, S, count): the tap from each place seen to each one given
        given = torch.bmm(seen.flatten(0, -3).permute(2, 0, 1), band).permute(1, 2, 0)
        return given.view(*seen.shape[:-2], count, -1)


class AlongTime(Fsmn):
    """Over the frames that have been, all frequencies together."""

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, 2 width), the last p before it (B, reach - 1, units) -> (B, N, 2 width), the last p."""
        p = F.relu(self.inward(x))
        seen = torch.cat([past, p], dim=1)
        reach = past.shape[1]
        if p.shape[1] > PIECE:
            starts = range(0, p.shape[1], PIECE)
            pieces = [self.filtered(seen[:, start : start + reach + PIECE], reach) for start in starts]
            filtered = torch.cat(pieces, dim=1)
        else:
            filtered = self.filtered(seen, reach)
        return x + self.outward(p + filtered), seen[:, -reach:] if reach else past


class AcrossFrequency(Fsmn):
    """Over the frequencies of each frame alone, from the lowest up."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, F, 2 width) -> the same."""
        p = F.relu(self.inward(x))
        return x + self.outward(p + self.filtered(p, 0))


class RoundMemory(NamedTuple):
    """What a `Round` remembers between frames, from the spectrum to the bottom.

    Attributes:
        downs, ups: The last input frame of each convolution.
        means: Sums of the attention's running means.
        bottom: What each recurrence along time remembers.
    """

    downs: tuple[Tensor, ...]
    ups: tuple[Tensor, ...]
    means: Tensor
    bottom: tuple[Tensor, ...]


class Round(nn.Module):
    """One U-net: one or two complex spectra in, a complex mask out, both its parts in [-1, 1]."""

    def __init__(self, config: FrcrnConfig, sources: int, mean: RunningMean) -> None:
        super().__init__()
        self.config, self.sources, self.mean = config, sources, mean
        bins, channels, stride = config.bins, config.channels, config.stride
        kernels = [min(KERNEL, count) for count in bins[:-1]]
        taps = [math.ceil(kernel / stride) for kernel in kernels]
        levels = range(config.levels)
        last = config.levels - 1
        self.downs = nn.ModuleList(
            ComplexConv(1 if level else sources, channels if level else 1, channels, kernels[level], stride)
            for level in levels
        )
        self.ups = nn.ModuleList(
            ComplexConv(
                2 if level < last else 1,
                channels,
                channels if level else 1,
                taps[level],
                phases=stride,
                padding=taps[level] - 1,
            )
            for level in levels
        )
        self.down_norms = nn.ModuleList(nn.LayerNorm([count, 2 * channels]) for count in bins[1:])
        self.up_norms = nn.ModuleList(nn.LayerNorm([count, 2 * channels]) for count in bins[1:-1])
        self.down_recurs = nn.ModuleList(AcrossFrequency(channels, config.hidden, config.reach) for _ in range(last))
        self.up_recurs = nn.ModuleList(AcrossFrequency(channels, config.hidden, config.reach) for _ in range(last))
        self.bottom = nn.ModuleList(AlongTime(bins[-1] * channels, config.bottom, config.frames) for _ in range(2))
        self.squeeze = ComplexLinear(last * channels, config.attention)
        self.excite = ComplexLinear(config.attention, last * channels)

    def initial(self, like: Tensor, batch: int) -> RoundMemory:
        """The memory before the first frame."""
        bins, width, last = self.config.bins, 2 * self.config.channels, self.config.levels - 1
        heard = [2 * self.sources] + [width] * last
        fed = [2 * width] * last + [width]
        return RoundMemory(
            downs=tuple(like.new_zeros(batch, 1, *shape) for shape in zip(bins[:-1], heard, strict=True)),
            ups=tuple(like.new_zeros(batch, 1, *shape) for shape in zip(bins[1:], fed, strict=True)),
            means=self.mean.initial(like, batch, last * width),
            bottom=(like.new_zeros(batch, self.config.frames - 1, 2 * self.config.bottom),) * 2,
        )

    def attend(self, skips: list[Tensor], sums: Tensor) -> tuple[list[Tensor], Tensor]:
        """Skips (B, N, F, C) with a gate in [0, 1] on each of their real and imaginary channels, the sums after them.

        Hu, Shen and Sun 2018 (squeeze and excitation), with running means in place of means over all frames.
        """
        means = torch.stack([skip.mean(2) for skip in skips], dim=2)  # (B, N, L, 2 C)
        shape, channels = means.shape, means.shape[3] // 2
        parts = means.unflatten(3, (2, channels)).transpose(2, 3).reshape(*shape[:2], shape[2] * shape[3])
        means, sums = self.mean(parts, sums)  # (B, N, 2 L C)
        gates = torch.sigmoid(self.excite(F.relu(self.squeeze(means))))
        gates = gates.unflatten(2, (2, len(skips), channels)).transpose(2, 3).reshape(shape)
        return [skip * gate[:, :, None] for skip, gate in zip(skips, gates.unbind(2), strict=True)], sums

    def remember(self, x: Tensor, memory: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The recurrences along time, over all frequencies of the bottom together: (B, N, F, 2 C) -> the same."""
        bins, channels = x.shape[2], x.shape[3] // 2
        flat = x.unflatten(3, (2, channels)).transpose(2, 3).reshape(*x.shape[:2], 2 * bins * channels)
        after = []
        for layer, past in zip(self.bottom, memory, strict=True):
            flat, past = layer(flat, past)
            after.append(past)
        return flat.unflatten(2, (2, bins, channels)).transpose(2, 3).reshape(x.shape), tuple(after)

    def forward(self, x: Tensor, memory: RoundMemory) -> tuple[Tensor, RoundMemory]:
        """(B, N, bins, 2 sources), the memory -> mask (B, N, bins, 2), the memory after it."""
        last = self.config.levels - 1
        downs, ups, skips = [], [], []
        for level, convolve in enumerate(self.downs):
            x, heard = convolve(x, memory.downs[level])
            x = F.leaky_relu(self.down_norms[level](x))
            downs.append(heard)
            if level < last:
                skips.append(x)
                x = self.down_recurs[level](x)
        skips, means = self.attend(skips, memory.means)
        x, bottom = self.remember(x, memory.bottom)
        for level in reversed(range(last + 1)):
            x = torch.cat([x, skips[level]], dim=3) if level < last else x
            x, heard = self.ups[level](x, memory.ups[level])
            x = x[:, :, : self.config.bins[level]]
            ups.append(heard)
            if level:
                x = self.up_recurs[level - 1](F.leaky_relu(self.up_norms[level - 1](x)))
        return torch.tanh(x), RoundMemory(tuple(downs), tuple(reversed(ups)), means, bottom)


class Memory(NamedTuple):
    """What `Frcrn` remembers between frames: sums of the running level, and the memory of each round."""

    level: Tensor
    rounds: tuple[RoundMemory, ...]


class Frcrn(SpectralModel):
    """Noisy spectra times a complex mask, the sum of those of all rounds.

    The input of the first round is the noisy spectrum, that of each later one also the spectrum times the mask so far.

    Scale: the input is taken relative to the level of the last second, so a gain applied to the input comes out as the
    same gain, down to about -100 dBFS. Silence gives silence, since a mask multiplies the input.
    """

    def __init__(self, config: FrcrnConfig) -> None:
        super().__init__(Stft(config.window, config.hop))
        self.config = config
        self.mean = RunningMean(config.memory, self.stft.hop / self.stft.sample_rate)
        self.rounds = nn.ModuleList(Round(config, min(2, n + 1), self.mean) for n in range(config.rounds))

    def initial_frames(self, batch: int) -> Memory:
        like = next(self.parameters())
        rounds = tuple(cast(Round, unet).initial(like, batch) for unet in self.rounds)
        return Memory(self.mean.initial(like, batch, 1), rounds)

    def compress(self, parts: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, bins, 2) -> the same phases, magnitudes relative to the running level and to the power 0.3."""
        power = power_of(parts)
        level, sums = self.mean(power.mean(2, keepdim=True), sums)
        level = level + SILENCE
        scale = (power / level + QUIET) ** ((POWER - 1) / 2) / level.sqrt()
        return parts * scale[..., None], sums

    def enhance_parts(self, parts: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        parts = parts.transpose(1, 2)  # (B, F, N, 2) -> (B, N, F, 2)
        noisy, level = self.compress(parts, memory.level)
        mask, heard, after = torch.zeros_like(noisy), noisy, []
        for unet, before in zip(self.rounds, memory.rounds, strict=True):
            more, rest = unet(heard, before)
            mask = mask + more
            heard = torch.cat([noisy, complex_product(noisy, mask)], dim=3)
            after.append(rest)
        return complex_product(parts, mask).transpose(1, 2), Memory(level, tuple(after))
