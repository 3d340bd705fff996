"""The contract that every denoiser keeps, classical or learnt."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

GRID = 1024
"""Samples: long recordings are cut at multiples of it, so that a model of frames meets the frames of the whole."""

State = Any
"""What a causal denoiser remembers between blocks: tensors in tuples or dicts, owned by the caller."""


@runtime_checkable
class Denoiser(Protocol):
    """Maps noisy to clean, (batch, time) to (batch, time), float32 in [-1, 1].

    The output has the input's length and is aligned with it to the sample; the input is never changed.

    Attributes:
        sample_rate: Hz; the only rate it understands.
        latency: Samples of look-ahead plus framing: the output at sample t may depend on the input up to,
            and not beyond, sample t + latency - 1.
        causal: True when it also keeps `StreamingDenoiser`.
    """

    @property
    def sample_rate(self) -> int: ...

    @property
    def latency(self) -> int: ...

    @property
    def causal(self) -> bool: ...

    def __call__(self, noisy: Tensor) -> Tensor: ...


@runtime_checkable
class StreamingDenoiser(Denoiser, Protocol):
    """A causal denoiser that can be driven block by block with its state outside it.

    Attributes:
        hop: Samples; a block's length is a multiple of it.
        delay: Samples by which the output of `advance` lags its input. After `delay` further samples of
            silence everything that was pushed has come out.

    Feeding a signal in blocks of any lengths, then `delay` zeros, and dropping the first `delay` samples that
    come out gives the samples that calling it on the whole signal gives.
    """

    @property
    def hop(self) -> int: ...

    @property
    def delay(self) -> int: ...

    def initial_state(self, batch: int) -> State:
        """The state before the first block, for `batch` independent signals."""
        ...

    def advance(self, noisy: Tensor, state: State) -> tuple[Tensor, State]:
        """(batch, n * hop) -> the next (batch, n * hop) samples, late by `delay`, and the state after them."""
        ...
