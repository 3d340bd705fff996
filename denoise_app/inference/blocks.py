"""Causal denoisers driven by blocks of any length, on their own device and at their own rate."""

from __future__ import annotations

import torch
from torch import Tensor

from denoise_app.denoiser import StreamingDenoiser


class Blocks:
    """A causal denoiser whose state is carried from block to block, its output aligned with its input.

    What comes out of all pushes and the finish together has the input's length and is what calling the denoiser on
    the whole input gives, however the input is cut.

    Args:
        denoiser: It is shared, never changed; what is remembered lies here.
        batch: Signals that are denoised side by side.
    """

    def __init__(self, denoiser: StreamingDenoiser, batch: int) -> None:
        self._denoiser = denoiser
        self._batch = batch
        self.reset()

    def reset(self) -> None:
        """Forgets everything; the next push begins a new signal."""
        with torch.inference_mode():
            self._state = self._denoiser.initial_state(self._batch)
        self._waiting = torch.zeros(self._batch, 0)  # what does not fill a hop yet
        self._late = self._denoiser.delay  # output samples still to be dropped
        self._owed = 0  # samples pushed that have not come out

    @torch.inference_mode()
    def push(self, block: Tensor) -> Tensor:
        """(batch, n) float32, n >= 0, on the denoiser's device -> the samples (batch, m) that are ready, m >= 0."""
        signal = torch.cat([self._waiting.to(block.device), block], dim=1)
        whole = signal.shape[1] // self._denoiser.hop * self._denoiser.hop
        self._waiting = signal[:, whole:].clone()  # a view would keep the block alive
        self._owed += block.shape[1]
        if not whole:
            return signal[:, :0]
        clean, self._state = self._denoiser.advance(signal[:, :whole], self._state)
        dropped = min(self._late, whole)
        self._late -= dropped
        self._owed -= whole - dropped
        return clean[:, dropped:]

    def finish(self) -> Tensor:
        """The samples (batch, m) that are left; `reset` before anything else is pushed."""
        owed = self._owed
        if not owed:
            return self._waiting[:, :0]
        flush = self._denoiser.delay + self._denoiser.hop  # a hop fills up what waits
        return self.push(self._waiting.new_zeros(self._batch, flush))[:, :owed]
