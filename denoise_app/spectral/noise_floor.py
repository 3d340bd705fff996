"""The noise under the speech: its power spectrum, tracked while people talk.

Of the trackers that adapt, this is the unbiased MMSE one of Gerkmann and Hendriks 2012, "Unbiased MMSE-based noise
power estimation with low complexity and low tracking delay". Minimum statistics (Martin 2001) and MCRA (Cohen and
Berdugo 2002) wait for a whole window of minima, 1 to 1.5 s, however small the rise of the noise is, and have a bias to
correct; this one has followed a rise by 10 dB after 0.8 s and one by 20 dB after 2.3 s, a fall after half that time,
to within 3 dB, reads noise alone 1 dB low, and costs a dozen operations a frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .stft import Stft

PAPER_HOP = 0.016  # seconds between frames for which the paper gives its constants
SLOW = 0.9  # weight of the past; the paper's 0.8 is quicker by half, its more restless floor leaves more noise
STUCK = 0.97  # presence that is no speech any more; the paper's 0.99 waits a second longer when noise sets in
LEAST_POWER = 1e-30  # what an empty bin counts as: far below any float32 sound, and its ratios still fit float32


class NoiseState(NamedTuple):
    """What the tracker remembers: noise power and smoothed speech presence (B, bins), frames heard so far (B, 1)."""

    noise: Tensor
    presence: Tensor
    heard: Tensor


class NoiseEstimate(Protocol):
    """Tells the noise power under each frame."""

    def initial_state(self, batch: int) -> NoiseState: ...

    def track(self, power: Tensor, state: NoiseState) -> tuple[Tensor, NoiseState]:
        """|Y|^2 of n frames, (n, B, bins) -> the noise power in each of them, same shape, and the state after them."""
        ...


@dataclass(frozen=True)
class NoiseTracker:
    """Noise power per bin from the probability that speech is present there.

    The first `opening` seconds of sound are taken for noise, as the paper does; where they are speech, the estimate
    falls within tenths of a second in the pauses between the words. Frames of digital silence teach nothing.

    Attributes:
        stft: Whose frames are counted; the constants are converted to its hop.
        prior_snr_db: SNR that speech has where it is present, xi_H1; the paper's optimum.
        opening: Seconds.
    """

    stft: Stft = field(default_factory=Stft)
    prior_snr_db: float = 15.0
    opening: float = 0.1

    def initial_state(self, batch: int) -> NoiseState:
        bins = self.stft.bins
        return NoiseState(torch.zeros(batch, bins), torch.full((batch, bins), 0.5), torch.zeros(batch, 1))

    def track(self, power: Tensor, state: NoiseState) -> tuple[Tensor, NoiseState]:
        """|Y|^2 of n frames, (n, B, bins) -> the noise power in each of them, same shape, and the state after them."""
        step = self.stft.hop / self.stft.sample_rate / PAPER_HOP  # our frames in the paper's
        slow, smooth = SLOW**step, 0.9**step
        xi = 10 ** (self.prior_snr_db / 10)
        slope, offset = xi / (1 + xi), math.log1p(xi)
        alive = power.amax(dim=2, keepdim=True) > 0  # (n, B, 1)
        heard = state.heard + alive.cumsum(dim=0)
        opening = heard * self.stft.hop <= self.opening * self.stft.sample_rate
        fixed = alive * opening / heard.clamp_min(1)  # while it opens: the mean of what was heard
        free = alive * ~opening * (1 - slow)

        noise, presence = state.noise, state.presence
        tracked = torch.empty_like(power)
        for t, (now, always, perhaps) in enumerate(zip(power, fixed, free, strict=True)):  # (B, bins), (B, 1) twice
            snr = now / noise.clamp_min(LEAST_POWER)
            speech = torch.sigmoid(slope * snr - offset)  # (18) with P(H0) = P(H1): P(H1 | y)
            presence = torch.lerp(speech, presence, smooth)  # (23)
            speech = torch.where(presence > STUCK, speech.clamp_max(STUCK), speech)  # (24): never stuck
            weight = torch.addcmul(always, perhaps, 1 - speech)
            noise = torch.lerp(noise, now, weight)  # (22) into (8): N + (1 - SLOW) P(H0 | y) (|Y|^2 - N)
            tracked[t] = noise
        last = heard[-1] if len(heard) else state.heard
        return tracked, NoiseState(noise, presence, last)


@dataclass(frozen=True)
class KnownNoise:
    """Noise that was measured where nothing else is heard, and is taken to stay as it is.

    Attributes:
        power: (rows, bins): of each signal of a batch, or one row for all.
    """

    power: Tensor

    def initial_state(self, batch: int) -> NoiseState:
        noise = self.power.expand(batch, -1)
        return NoiseState(noise, torch.zeros_like(noise), torch.zeros(batch, 1))

    def track(self, power: Tensor, state: NoiseState) -> tuple[Tensor, NoiseState]:
        """The same noise for each of n frames, (n, B, bins)."""
        return state.noise.expand_as(power), state


class MeanPower:
    """The mean of |Y|^2 over the frames of sound that comes in blocks (Welch 1967).

    Args:
        stft: Whose frames are counted.
        rows: Signals side by side.
    """

    def __init__(self, stft: Stft, rows: int) -> None:
        self._stft = stft
        self._pending = torch.zeros(rows, 0)
        self._sum = torch.zeros(rows, stft.bins, dtype=torch.float64)
        self._count = 0

    def push(self, block: Tensor) -> None:
        """(rows, n) float32, n >= 0."""
        self._pending = torch.cat([self._pending, block], dim=1)
        count = max(0, self._pending.shape[1] - self._stft.delay) // self._stft.hop
        if count:
            frames = self._stft.frames(self._pending[:, : count * self._stft.hop + self._stft.delay])
            self._sum += frames.abs().double().square().sum(2)
            self._pending = self._pending[:, count * self._stft.hop :].clone()  # a view would keep the block alive
            self._count += count

    def power(self) -> Tensor:
        """(rows, bins) float32; 0 where not a frame was heard."""
        return (self._sum / max(self._count, 1)).float()
