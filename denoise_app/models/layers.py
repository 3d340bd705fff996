"""What more than one model is made of."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from denoise_app.spectral.stft import Stft

MOST_FRAMES = 256  # of one matrix product of `RunningMean`, so that its square stays small
SILENCE = 1e-10  # of band power: some -120 dBFS
FLOOR = 1e-5  # of the recent level: bands below it, and those that hold exact zeros, all look alike


def check_bounds(config: object, **bounds: tuple[float, float]) -> None:
    """Raises ValueError where a setting of a Config lies outside its (lowest, highest)."""
    for name, (low, high) in bounds.items():
        if not low <= getattr(config, name) <= high:
            raise ValueError(f"{name} must lie in {low}..{high}, not {getattr(config, name)}")


class BandSplit(nn.Module):
    """Bins to bands and back: single bins at the bottom, where harmonics stand apart, ERB-wide triangles above.

    Nothing is learnt. The scale is that of Glasberg and Moore 1990, as in GTCRN (Rong et al. 2024).
    """

    gather: Tensor
    spread: Tensor

    def __init__(self, stft: Stft, single_bins: int, wide_bands: int) -> None:
        super().__init__()
        hertz = np.arange(stft.bins) * stft.sample_rate / stft.window
        erb = 21.4 * np.log10(1 + 0.00437 * hertz)
        centres = np.linspace(erb[single_bins - 1], erb[-1], wide_bands + 1)
        hats = [np.interp(erb, centres, row) for row in np.eye(wide_bands + 1)]  # triangles that sum to one
        share = np.zeros((stft.bins, single_bins + wide_bands))
        share[:, single_bins - 1 :] = np.stack(hats, axis=1)
        share[:single_bins] = np.eye(single_bins, share.shape[1])
        self.register_buffer("gather", torch.tensor(share / share.sum(0), dtype=torch.float32), persistent=False)
        self.register_buffer("spread", torch.tensor(share.T, dtype=torch.float32), persistent=False)

    def split(self, power: Tensor) -> Tensor:
        """Power per bin (..., bins) -> its mean per band (..., bands)."""
        return power @ self.gather

    def merge(self, gain: Tensor) -> Tensor:
        """A gain per band (..., bands) -> interpolated per bin (..., bins)."""
        return gain @ self.spread


class RunningMean:
    """A causal mean with exponentially fading weights, exact from the first frame on.

    At frame n it is sum_k a^(n-k) x_k / sum_k a^(n-k) over the frames k <= n: the first frame's mean is itself.

    Args:
        seconds: Time constant.
        frame_seconds: Time from frame to frame.
    """

    def __init__(self, seconds: float, frame_seconds: float) -> None:
        self.decay = math.exp(-frame_seconds / seconds)

    def initial(self, like: Tensor, batch: int, features: int) -> Tensor:
        """Sums before the first frame, (B, features + 1): of the values, and of the weights."""
        return like.new_zeros(batch, features + 1)

    def __call__(self, frames: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, K), sums (B, K + 1) -> the mean at each frame (B, N, K), the sums after them."""
        means = []
        for part in frames.split(MOST_FRAMES, dim=1):
            weighted = torch.cat([part, torch.ones_like(part[:, :, :1])], dim=2)
            age = torch.arange(part.shape[1], device=frames.device)
            lag = (age[:, None] - age).float()
            fading = torch.where(lag >= 0, self.decay ** lag.clamp(min=0), 0.0)
            total = fading @ weighted + (self.decay ** (age + 1.0))[:, None] * sums[:, None]
            means.append(total[:, :, :-1] / total[:, :, -1:])
            sums = total[:, -1]
        return torch.cat(means, dim=1), sums


class FeatureSums(NamedTuple):
    """What `BandFeatures` remembers: sums of the running means of the level and of each band."""

    level: Tensor
    spectrum: Tensor


class BandFeatures:
    """Log power in bands, against the recent level and against each band's recent mean, each of about unit size.

    Nothing is learnt. A gain on the input changes nothing, down to about -100 dBFS.

    Args:
        bands: From bins to bands.
        seconds: Time constant of the means.
        frame_seconds: Time from frame to frame.
    """

    def __init__(self, bands: BandSplit, seconds: float, frame_seconds: float) -> None:
        self.bands = bands
        self.mean = RunningMean(seconds, frame_seconds)

    def initial(self, like: Tensor, batch: int) -> FeatureSums:
        """Sums before the first frame."""
        return FeatureSums(
            self.mean.initial(like, batch, 1), self.mean.initial(like, batch, self.bands.gather.shape[1])
        )

    def __call__(self, spectra: Tensor, sums: FeatureSums) -> tuple[Tensor, FeatureSums]:
        """Complex (B, bins, n) -> features (B, n, 2 * bands), the sums after them."""
        power = spectra.real.square() + spectra.imag.square()
        power = self.bands.split(power.transpose(1, 2))  # (B, F, N) -> (B, N, bands)
        level, level_sums = self.mean(power.mean(2, keepdim=True), sums.level)
        decades = torch.log10(power / (level + SILENCE) + FLOOR)
        mean, spectrum_sums = self.mean(decades, sums.spectrum)
        return torch.cat([decades / 2 + 0.7, decades - mean], dim=2), FeatureSums(level_sums, spectrum_sums)


def run_gru(gru: nn.GRU, frames: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """What `gru(frames, hidden)` gives, with a backward pass on the CPU that is about twice as quick.

    torch adds to the gradient of the recurrent weights at every frame, each time the size of the weights themselves;
    here the frames' parts are kept and multiplied once, at the end.

    Args:
        gru: One direction, batch first, with biases.
        frames: (B, N, features).
        hidden: State before the first frame, (layers, B, hidden).
    """
    if not torch.is_grad_enabled() or frames.device.type != "cpu":
        result: tuple[Tensor, Tensor] = gru(frames, hidden)
        return result
    last = []
    for layer in range(gru.num_layers):
        w_in, w_rec, b_in, b_rec = (getattr(gru, f"{name}_l{layer}") for name in _GRU_WEIGHTS)
        frames = _GruLayer.apply(nn.functional.linear(frames, w_in, b_in), hidden[layer], w_rec, b_rec)
        last.append(frames[:, -1])
    return frames, torch.stack(last)


_GRU_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class _GruLayer(torch.autograd.Function):
    """The recurrence of torch.nn.GRU: r, z = sigmoid(.), n = tanh(i_n + r h_n), h' = (1 - z) n + z h."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Input's part of the gates (B, N, 3 H), state (B, H), recurrent weight (3 H, H), bias (3 H) -> (B, N, H)."""
        batch, count, width = gates.shape[0], gates.shape[1], hidden.shape[1]
        inputs = gates.transpose(0, 1).contiguous()  # (B, N, 3 H) -> (N, B, 3 H)
        states = gates.new_empty(count + 1, batch, width)
        gated = gates.new_empty(count, batch, 2 * width)  # r and z
        news, recurrent_news = gates.new_empty(2, count, batch, width)
        states[0] = hidden
        transposed = weight.t().contiguous()
        for n in range(count):
            recurrent = torch.addmm(bias, states[n], transposed)
            torch.add(inputs[n, :, : 2 * width], recurrent[:, : 2 * width], out=gated[n])
            gated[n].sigmoid_()
            reset, update = gated[n].split(width, dim=1)
            recurrent_news[n] = recurrent[:, 2 * width :]
            torch.addcmul(inputs[n, :, 2 * width :], reset, recurrent_news[n], out=news[n])
            news[n].tanh_()
            torch.lerp(news[n], states[n], update, out=states[n + 1])
        ctx.save_for_backward(states, gated, news, recurrent_news, weight)
        return states[1:].transpose(0, 1)  # (N, B, H) -> (B, N, H)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        states, gated, news, recurrent_news, weight = ctx.saved_tensors
        above = gradients[0].transpose(0, 1)  # (B, N, H) -> (N, B, H)
        reset, update = gated.chunk(2, dim=2)
        to_new = (1 - update) * (1 - news.square())
        to_update = (states[:-1] - news) * update * (1 - update)
        to_reset = recurrent_news * reset * (1 - reset)
        width = news.shape[2]
        at_input = torch.empty_like(states[1:].repeat(1, 1, 3))
        at_state = torch.empty_like(at_input)
        below = torch.zeros_like(states[0])
        for n in range(len(news) - 1, -1, -1):
            total = above[n] + below
            through_new = torch.mul(total, to_new[n], out=at_input[n, :, 2 * width :])
            torch.mul(through_new, to_reset[n], out=at_input[n, :, :width])
            torch.mul(total, to_update[n], out=at_input[n, :, width : 2 * width])
            at_state[n, :, : 2 * width] = at_input[n, :, : 2 * width]
            torch.mul(through_new, reset[n], out=at_state[n, :, 2 * width :])
            below = torch.addmm(total * update[n], at_state[n], weight)
        flat = at_state.flatten(0, 1)  # (N * B, 3 H)
        return at_input.transpose(0, 1), below, flat.t() @ states[:-1].flatten(0, 1), flat.sum(0)
