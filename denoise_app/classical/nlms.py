"""The normalised least mean square filter: with a noise reference a canceller, alone a line enhancer.

Papers: Widrow et al. 1975, "Adaptive noise cancelling: principles and applications" (the canceller, and the line
    enhancer as its case without a reference); Nagumo and Noda 1967 (the normalised step); Benesty and Duhamel 1992,
    "A fast exact least mean square adaptive algorithm" (a block at a time, the same samples).
Latency: 64 samples alone, 128 with a reference: 4 and 8 ms at 16 kHz; causal.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .blocks import denoise_whole

LEAST_POWER = 1e-30  # what silence counts as


class NlmsState(NamedTuple):
    """Weights (B, taps), oldest tap first; what was heard of primary and reference; mean reference power (B, 1)."""

    weights: Tensor
    primary: Tensor
    reference: Tensor
    power: Tensor


class Nlms:
    """Takes from a signal what a filter, adapted sample by sample, can tell of it from a reference.

    With a reference, row 0 of a batch of two is the primary signal, row 1 the noise heard by a second microphone; the
    filter follows the path between them, and row 0 comes back without the noise, row 1 as it is. The reference should
    hold no speech, since that would be cancelled too.

    Alone, each row is its own reference, `lag` samples late: after so long speech has changed, and only steady tones
    can be told: hum, whistles, whines. They are taken out within seconds; broadband noise stays.

    Args:
        reference: Whether row 1 is a noise reference.
        taps: Length of the filter, samples: 256 with a reference (16 ms of path), 512 alone (lines 31 Hz apart).
        step: mu, in (0, 2): 0.03 with a reference, 0.007 alone. The louder the speech against the noise, the smaller.
        lag: Samples by which the reference is late: -64 with one (the noise may reach it 4 ms after the primary),
            3200 alone (200 ms, as long as a vowel lasts).
        sample_rate: Hz.

    Raises:
        ValueError: a step outside (0, 2), no taps, a lag below 1 without a reference.
    """

    causal = True
    hop = 64  # samples that are adapted at a time: more cost more products, fewer more calls

    def __init__(
        self,
        reference: bool = False,
        taps: int | None = None,
        step: float | None = None,
        lag: int | None = None,
        sample_rate: int = 16_000,
    ) -> None:
        self.reference = reference
        self.taps = taps if taps is not None else 256 if reference else 512
        self.step = step if step is not None else 0.03 if reference else 0.007
        self.lag = lag if lag is not None else -64 if reference else 3200
        self.sample_rate = sample_rate
        if not 0 < self.step < 2 or self.taps < 1:
            raise ValueError(f"a step lies in (0, 2) and a filter has a tap, not {self.step} and {self.taps}")
        if not reference and self.lag < 1:
            raise ValueError(f"a signal that is its own reference must be late by a sample at least, not {self.lag}")
        self.delay = max(-self.lag, 0)
        self.latency = self.delay + self.hop
        self._span = self.taps + max(self.lag, 0)  # from the newest of the reference to the oldest that a tap sees

    @classmethod
    def with_reference(cls) -> Nlms:
        """The canceller, as it is best for two microphones."""
        return cls(reference=True)

    def initial_state(self, batch: int) -> NlmsState:
        if self.reference and batch != 2:
            raise ValueError(f"with a reference there are two rows, primary and reference, not {batch}")
        rows = 1 if self.reference else batch
        return NlmsState(
            weights=torch.zeros(rows, self.taps),
            primary=torch.zeros(rows, self.delay),
            reference=torch.zeros(rows, max(self._span, self.delay)),
            power=torch.zeros(rows, 1),
        )

    def advance(self, noisy: Tensor, state: NlmsState) -> tuple[Tensor, NlmsState]:
        length = noisy.shape[1]
        primary, reference = (noisy[:1], noisy[1:]) if self.reference else (noisy, noisy)
        primary = torch.cat([state.primary, primary], dim=1)  # (R, delay + n * hop)
        reference = torch.cat([state.reference, reference], dim=1)  # (R, past + n * hop)
        past = state.reference.shape[1]
        heard = self._mean_powers(reference[:, past - self._span :])  # (R, n * hop)
        weights, power = state.weights, state.power
        cleaned = []
        for start in range(0, length, self.hop):
            block = slice(start, start + self.hop)
            step = self.step / (self._span * (heard[:, block] + power).clamp_min(LEAST_POWER))  # mu_n, (R, hop)
            newest = past + start - max(self.lag, 0) + self.hop
            seen = reference[:, newest - self.taps - self.hop + 1 : newest].unfold(1, self.taps, 1).contiguous()
            error, weights = adapt(primary[:, block], seen, weights, step)
            fresh = reference[:, past + start : past + start + self.hop].square().mean(1, keepdim=True)
            power = torch.lerp(power, fresh, self.hop / self.sample_rate)  # of about the last second
            cleaned.append(error)
        clean = torch.cat(cleaned, dim=1) if cleaned else primary[:, :0]
        if self.reference:
            clean = torch.cat([clean, reference[:, past - self.delay : past - self.delay + length]], dim=0)
        return clean, NlmsState(weights, primary[:, length:], reference[:, length:], power)

    def _mean_powers(self, reference: Tensor) -> Tensor:
        """(R, span + n) -> (R, n): at each of the n last samples the mean power of it and the `span` - 1 before it.

        The span begins at the newest sample, not at the first tap's, so that a voice that sets in makes the steps
        small before a late tap sees it; its energy is never less than the taps', so that a step below 2 is stable.
        """
        energy = reference.double().square().cumsum(1)
        return ((energy[:, self._span :] - energy[:, : -self._span]) / self._span).float()

    def __call__(self, noisy: Tensor) -> Tensor:
        """(B, T) -> (B, T)."""
        return denoise_whole(self, noisy)


def adapt(wanted: Tensor, seen: Tensor, weights: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """One block of the filter: the samples e_n that sample by sample adaptation gives, and the weights after them.

    Sample by sample it is e_n = d_n - w_n . x_n and w_(n+1) = w_n + mu_n e_n x_n. Within the block the weights are
    w_n = w_0 + sum over m < n of mu_m e_m x_m, so that the errors solve the triangular system
    e_n + sum over m < n of (x_n . x_m) mu_m e_m = d_n - w_0 . x_n (Benesty and Duhamel 1992).

    Args:
        wanted: d, (R, hop).
        seen: x_n in its rows, (R, hop, taps).
        weights: w_0, (R, taps).
        step: mu_n, (R, hop): mu over the energy of the reference or more.
    """
    before = wanted - torch.matmul(seen, weights[:, :, None])[:, :, 0]  # (R, hop)
    system = torch.matmul(seen, seen.mT) * step[:, None, :]  # (R, hop, hop); the solver takes 1 on its diagonal
    error = torch.linalg.solve_triangular(system, before[:, :, None], upper=False, unitriangular=True)[:, :, 0]
    return error, weights + torch.matmul((step * error)[:, None, :], seen)[:, 0]
