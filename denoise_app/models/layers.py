"""What more than one model is made of."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoise_app.spectral.stft import SpectralDenoiser, Stft

MOST_FRAMES = 256  # of one matrix product of `RunningMean`, so that its square stays small
SILENCE = 1e-10  # of band power: some -120 dBFS
FLOOR = 1e-5  # of the recent level: bands below it, and those that hold exact zeros, all look alike
QUIET = 1e-4  # of the mean power: bins below it have no phase worth telling


BOUNDS: dict[str, tuple[float, float]] = {
    "window": (64, 4096),
    "hop": (16, 2048),
    "wide_bands": (1, 512),
    "width": (8, 2048),
    "layers": (1, 8),
    "memory": (0.1, 60.0),
    "level_memory": (0.05, 60.0),
    "level_seconds": (0.1, 10.0),
    "floor": (0.0, 0.9),
}
"""(lowest, highest) of settings that mean the same in every Config that has them."""


def started(*shape: int, fill: Callable[[Tensor], Tensor]) -> nn.Parameter:
    """A parameter and its first values, which `fill` puts into an empty tensor.

    On torch's "meta" device there is nothing to fill, and arithmetic there would load torch's compiler: 110 MiB, for
    nothing, in every process that reads a checkpoint.
    """
    empty = torch.empty(shape)
    return nn.Parameter(empty if empty.is_meta else fill(empty))


def check_bounds(config: object, **own: tuple[float, float]) -> None:
    """Raises ValueError where a setting of a Config lies outside BOUNDS or its own (lowest, highest)."""
    common = {name: bounds for name, bounds in BOUNDS.items() if hasattr(config, name)}
    for name, (low, high) in (common | own).items():
        if not low <= getattr(config, name) <= high:
            raise ValueError(f"{name} must lie in {low}..{high}, not {getattr(config, name)}")


class SpectralModel(SpectralDenoiser):
    """A spectral denoiser that computes with real numbers, its memory too: ONNX and phones know no complex ones."""

    @abstractmethod
    def initial_frames(self, batch: int) -> Any:
        """Tuples, in tuples if need be, of real tensors that hold zeros."""

    @abstractmethod
    def enhance_parts(self, parts: Tensor, memory: Any) -> tuple[Tensor, Any]:
        """What `enhance` does, with real and imaginary parts beside each other: (B, bins, n, 2) -> (B, bins, n, 2)."""

    def enhance(self, spectra: Tensor, memory: Any) -> tuple[Tensor, Any]:
        clean, memory = self.enhance_parts(torch.view_as_real(spectra), memory)
        return torch.view_as_complex(clean), memory


def power_of(parts: Tensor) -> Tensor:
    """Real and imaginary parts (..., 2) -> their squares' sum (...)."""
    real, imag = parts.unbind(-1)
    return real.square() + imag.square()


def complex_product(a: Tensor, b: Tensor) -> Tensor:
    """Complex products of (..., 2) and (..., 2)."""
    (a_re, a_im), (b_re, b_im) = a.unbind(-1), b.unbind(-1)
    return torch.stack([a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re], dim=-1)


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
        if not share.any(axis=0).all():
            raise ValueError(f"{wide_bands} wide_bands are too many for {stft.bins} bins: some would hold none")
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
        for part in frames.split(MOST_FRAMES, dim=1) if frames.shape[1] > MOST_FRAMES else (frames,):
            weighted = torch.cat([part, torch.ones_like(part[:, :, :1])], dim=2)
            age = torch.arange(part.shape[1], device=frames.device).to(frames.dtype)
            lag = (age[:, None] - age).clamp(min=0)
            fading = (torch.full_like(lag, self.decay) ** lag).tril()  # a scalar base would be double in ONNX
            total = fading @ weighted + (torch.full_like(age, self.decay) ** (age + 1))[:, None] * sums[:, None]
            means.append(total[:, :, :-1] / total[:, :, -1:])
            sums = total[:, -1]
        return torch.cat(means, dim=1), sums


def level_around(power: Tensor, side: int) -> Tensor:
    """Mean of power (B, N, F) over F and `side` frames to each side, fewer at the ends: (B, N, 1), never 0."""
    means = power.mean(2)[:, None]
    return F.avg_pool1d(means, 2 * side + 1, 1, side, count_include_pad=False).transpose(1, 2) + SILENCE


class Memories(Protocol):
    """Of a Config: seconds over which the mean spectrum and the level are followed."""

    @property
    def memory(self) -> float: ...

    @property
    def level_memory(self) -> float: ...


class FeatureSums(NamedTuple):
    """What `BandFeatures` remembers: sums of the running means of the level and of each band."""

    level: Tensor
    spectrum: Tensor


class BandFeatures:
    """Log power in bands, against the recent level and against each band's recent mean, each of about unit size.

    Nothing is learnt. A gain on the input changes nothing, down to about -100 dBFS.

    Args:
        bands: From bins to bands.
        memories: Time constants of the means of each band, and of the level, in seconds. While the level still stands
            where a loud voice left it, one 20 dB softer looks like what is left of noise: with a second of it, models
            took such a voice away for seconds, by 14 to 32 dB, and with a fifth of a second by about 1 dB.
        frame_seconds: Time from frame to frame.
    """

    def __init__(self, bands: BandSplit, memories: Memories, frame_seconds: float) -> None:
        self.bands = bands
        self.level = RunningMean(memories.level_memory, frame_seconds)
        self.mean = RunningMean(memories.memory, frame_seconds)

    def initial(self, like: Tensor, batch: int) -> FeatureSums:
        """Sums before the first frame."""
        return FeatureSums(
            self.level.initial(like, batch, 1), self.mean.initial(like, batch, self.bands.gather.shape[1])
        )

    def __call__(self, parts: Tensor, sums: FeatureSums) -> tuple[Tensor, FeatureSums]:
        """Spectra (B, bins, n, 2) -> features (B, n, 2 * bands), the sums after them."""
        power = self.bands.split(power_of(parts).transpose(1, 2))  # (B, F, N) -> (B, N, bands)
        level, level_sums = self.level(power.mean(2, keepdim=True), sums.level)
        decades = torch.log10(power / (level + SILENCE) + FLOOR)
        mean, spectrum_sums = self.mean(decades, sums.spectrum)
        return torch.cat([decades / 2 + 0.7, decades - mean], dim=2), FeatureSums(level_sums, spectrum_sums)


def phase_steps(parts: Tensor) -> Tensor:
    """(B, bins, n + 1, 2) -> (B, n, 2 * bins): cosine and sine of how far each bin's phase turned in a frame.

    They tell a tone's place inside its bin. Both fade to 0 where a bin is far below the mean of its frame.
    """
    (real, imag), (old_real, old_imag) = parts[:, :, 1:].unbind(3), parts[:, :, :-1].unbind(3)
    along = real * old_real + imag * old_imag
    across = imag * old_real - real * old_imag
    power = power_of(parts)
    mean = power.mean(1, keepdim=True)
    size = ((power + QUIET * mean)[:, :, 1:] * (power + QUIET * mean)[:, :, :-1] + 1e-30).sqrt()
    return torch.cat([along / size, across / size], dim=1).transpose(1, 2)


def run_gru(gru: nn.GRU, frames: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """What `gru(frames, hidden)` gives, with a backward pass on the CPU that is up to twice as quick.

    torch adds to the gradient of the recurrent weights at every frame, each time the size of the weights themselves;
    here the frames' parts are kept and multiplied once, at the end. The batch comes last, so that every gate of a
    frame lies in one piece.

    Args:
        gru: One direction, batch first, with biases.
        frames: (B, N, features).
        hidden: State before the first frame, (layers, B, hidden).
    """
    if not torch.is_grad_enabled() or frames.device.type != "cpu":
        result: tuple[Tensor, Tensor] = gru(frames, hidden)
        return result
    last = []
    frames = frames.permute(1, 2, 0)  # (B, N, K) -> (N, K, B)
    for layer in range(gru.num_layers):
        weights = (getattr(gru, f"{name}_l{layer}") for name in _GRU_WEIGHTS)
        frames = _GruLayer.apply(frames, hidden[layer].t(), *weights)
        last.append(frames[-1].t())
    return frames.permute(2, 0, 1), torch.stack(last)


def run_both_ways(upwards: nn.GRU, downwards: nn.GRU, rows: Tensor) -> Tensor:
    """The outputs of one GRU from the first place on beside those of another from the last: (R, L, K) -> (R, L, 2 H).

    Both are of one layer, batch first, with biases. On the CPU, where no gradient is wanted, it is one call of torch,
    which ONNX has an operator for; CUDA wants the weights of one call side by side in memory.
    """
    nothing = 0 * rows[:, :1, :1].detach().transpose(0, 1)  # made of the rows: a graph takes any number of them
    still = nothing.repeat(2, 1, upwards.hidden_size)  # (2, R, H)
    if torch.is_grad_enabled() or rows.device.type != "cpu":
        up, _ = run_gru(upwards, rows, still[:1])
        down, _ = run_gru(downwards, rows.flip(1), still[1:])
        return torch.cat([up, down.flip(1)], dim=2)
    weights = [getattr(gru, f"{name}_l0") for gru in (upwards, downwards) for name in _TORCH_ORDER]
    biases, layers, dropout, training, bidirectional, batch_first = True, 1, 0.0, False, True, True
    both, _ = torch.gru(rows, still, weights, biases, layers, dropout, training, bidirectional, batch_first)
    return both


_TORCH_ORDER = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_GRU_WEIGHTS = ("weight_ih", "bias_ih", "weight_hh", "bias_hh")


class _GruLayer(torch.autograd.Function):
    """The recurrence of torch.nn.GRU: r, z = sigmoid(.), n = tanh(i_n + r h_n), h' = (1 - z) n + z h."""

    @staticmethod
    def forward(
        ctx: Any, frames: Tensor, hidden: Tensor, w_in: Tensor, b_in: Tensor, weight: Tensor, bias: Tensor
    ) -> Tensor:
        """Frames (N, K, B), state (H, B), weights (3 H, K) and (3 H, H), biases (3 H) -> states (N, H, B)."""
        count, width, batch = frames.shape[0], *hidden.shape
        gates = torch.baddbmm(b_in[:, None], w_in.expand(count, -1, -1), frames)  # (N, 3 H, B)
        states = gates.new_empty(count + 1, width, batch)
        inner = gates.new_empty(count, 3 * width, batch)  # r, z, h_n
        news = gates.new_empty(count, width, batch)
        states[0] = hidden
        for n in range(count):
            gated, state = inner[n], states[n]
            torch.addmm(bias[:, None], weight, state, out=gated)
            gated[: 2 * width].add_(gates[n, : 2 * width]).sigmoid_()
            reset, update, recurrent_new = gated.split(width)
            torch.addcmul(gates[n, 2 * width :], reset, recurrent_new, out=news[n]).tanh_()
            torch.lerp(news[n], state, update, out=states[n + 1])
        ctx.save_for_backward(frames, states, inner, news, w_in, weight)
        return states[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        frames, states, inner, news, w_in, weight = ctx.saved_tensors
        above = gradients[0]
        count, width, batch = news.shape
        reset, update, recurrent_new = inner.split(width, dim=1)
        # by what the gradient at a state is multiplied on its way to r, z and h_n, and to i_n
        parts = news.new_empty(count, 4, width, batch)
        to_new = torch.mul(1 - update, 1 - news.square(), out=parts[:, 3])
        to_recurrent = torch.mul(to_new, reset, out=parts[:, 2])
        torch.mul((states[:-1] - news) * update, 1 - update, out=parts[:, 1])
        torch.mul(to_recurrent * recurrent_new, 1 - reset, out=parts[:, 0])
        flat = parts.flatten(1, 2)  # (N, 4 H, B)
        transposed = weight.t()
        below = torch.zeros_like(states[0])
        for n in range(count - 1, -1, -1):
            below.add_(above[n])
            parts[n].mul_(below)
            below.mul_(update[n]).addmm_(transposed, flat[n, : 3 * width])
        at_input = torch.cat([flat[:, : 2 * width], flat[:, 3 * width :]], dim=1)  # (N, 3 H, B)
        at_frames = torch.bmm(w_in.t().expand(count, -1, -1), at_input)
        w_in_part, b_in_part = _summed(at_input, frames)
        weight_part, bias_part = _summed(flat[:, : 3 * width], states[:-1])
        return at_frames, below, w_in_part, b_in_part, weight_part, bias_part


def _summed(gradient: Tensor, against: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients (N, I, B) at products of a weight with (N, J, B), plus a bias -> those at weight (I, J) and bias."""
    rows = gradient.transpose(0, 1).flatten(1)  # (I, N * B)
    return rows @ against.transpose(1, 2).flatten(0, 1), rows.sum(1)
